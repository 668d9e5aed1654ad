"""Which kind of reward model is trained; no torch, so that the command line can show the options at once."""

from dataclasses import dataclass
from typing import Literal

from textrl_env.errors import InputError, require_at_least


@dataclass(frozen=True)
class RewardModelKind:
    """Options of `textrl_env.reward_models.kinds.new_reward_model`."""

    train: Literal["full", "lora", "head"] = "full"
    """All weights; adapters of rank `lora_rank` and the head; or the head alone, which takes one pass and seconds."""
    lora_rank: int = 16
    """Rank of the adapters."""
    members: int = 1
    """Heads on the trunk, each trained on its own bootstrap resample; 2 or more are an ensemble."""
    normalize: bool = False
    """Scores of mean 0 and standard deviation 1 on the training completions."""

    def __post_init__(self) -> None:
        if self.train not in ("full", "lora", "head"):
            raise InputError(f"train must be full, lora or head, got {self.train!r}")
        require_at_least(1, lora_rank=self.lora_rank, members=self.members)
