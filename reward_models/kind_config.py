"""Which kind of reward model is trained; no torch, so that the command line can show the options at once."""

from dataclasses import dataclass
from typing import Literal

import tyro

from textrl_env.errors import InputError, require_at_least


@dataclass(frozen=True)
class RewardModelKind:
    """Options of `textrl_env.reward_models.kinds.new_reward_model`."""

    train: Literal["full", "lora", "head"] = "full"
    """All weights, adapters, or the head alone, in one pass."""
    lora_rank: int = 16
    """Rank of the adapters."""
    members: int = 1
    """Of an ensemble: heads, each on its own resample."""
    normalize: tyro.conf.FlagCreatePairsOff[bool] = False
    """Training completions score 0 on average, with a spread of 1."""

    def __post_init__(self) -> None:
        if self.train not in ("full", "lora", "head"):
            raise InputError(f"train must be full, lora or head, got {self.train!r}")
        require_at_least(1, lora_rank=self.lora_rank, members=self.members)
