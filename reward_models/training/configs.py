"""Options of reward-model training; no torch, so that the command line can show them at once."""

from dataclasses import dataclass
from typing import Literal

from textrl_env.errors import InputError, require_above, require_at_least, require_count, require_within

Loss = Literal["pairs", "davidson", "plackett-luce", "regression", "ordinal"]


@dataclass(frozen=True)
class RewardModelConfig:
    """Options of `RewardModelTraining`; docs/reward_models.md has the losses.

    The loss `auto` is `pairs` where the rows are preferences and `regression` where they are ratings.
    """

    n_epochs: int = 4
    """Passes over the rows; at least 1."""
    batch_size: int = 16
    """Rows (a ranking is one) per step."""
    learning_rate: float = 1.5e-3
    """Peak of AdamW's one cycle; 2e-5 suits a pretrained model."""
    weight_decay: float = 0.01
    """AdamW's weight decay; 0 or more."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to it; above 0."""
    loss: Literal["auto", Loss] = "auto"
    """Of preferences pairs, davidson, plackett-luce; of ratings regression, ordinal."""
    label_smoothing: float = 0.0
    """Share of wrong preferences, in [0, 0.5)."""
    center_rewards_coefficient: float = 0.0
    """Holds scores around 0, say 0.01."""

    def __post_init__(self) -> None:
        require_count(1, n_epochs=self.n_epochs, batch_size=self.batch_size)
        require_above(0, learning_rate=self.learning_rate)
        if self.max_grad_norm != float("inf"):
            require_above(0, max_grad_norm=self.max_grad_norm)
        require_at_least(0, weight_decay=self.weight_decay, center_rewards_coefficient=self.center_rewards_coefficient)
        require_within("[0, 0.5)", label_smoothing=self.label_smoothing)
        if self.label_smoothing and self.loss in ("plackett-luce", "regression", "ordinal"):
            raise InputError(f"label_smoothing is for the losses pairs and davidson, loss is {self.loss}")
        if self.center_rewards_coefficient and self.loss in ("regression", "ordinal"):
            raise InputError(
                f"center_rewards_coefficient is for preferences, loss is {self.loss}: ratings say themselves where 0 is"
            )


@dataclass(frozen=True)
class RewardModelKind:
    """Options of `create_reward_model`: the part that is trained, the number of members, the scale of the scores."""

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
        require_count(1, lora_rank=self.lora_rank, members=self.members)
