"""Which kind of reward model is trained; no torch, so that the command line can show the options at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from textrl_env.errors import InputError, require_at_least

MEMBERS = "members.safetensors"
"""The file of a folder with an ensemble that holds its heads: `weight` (K, H) and `bias` (K,)."""


def is_ensemble(folder: str | Path) -> bool:
    """Whether the reward model in a folder has members."""
    return (Path(folder) / MEMBERS).is_file()


@dataclass(frozen=True)
class RewardModelKind:
    """Options of `textrl_env.reward_models.model.kinds.new_reward_model`."""

    train: Literal["full", "lora", "head"] = "full"
    """All weights, adapters, or the head alone, in one pass."""
    lora_rank: int = 16
    """Rank of the adapters."""
    members: int = 1
    """Heads, each on its own resample."""
    normalize: bool = False
    """Scores of mean 0 and deviation 1."""

    def __post_init__(self) -> None:
        if self.train not in ("full", "lora", "head"):
            raise InputError(f"train must be full, lora or head, got {self.train!r}")
        require_at_least(1, lora_rank=self.lora_rank, members=self.members)
