"""Options of the trainings on rows; no torch, so that the command line can show them at once."""

from dataclasses import dataclass
from typing import Literal

from textrl_env.errors import InputError, require_above, require_at_least, require_count, require_within


@dataclass(frozen=True)
class RowTrainingConfig:
    """Options that SFT, DPO and KTO share."""

    n_steps: int = 400
    """Optimizer steps; at least 1."""
    batch_size: int = 32
    """Rows per step; at least 1."""
    learning_rate: float = 5e-3
    """Peak of AdamW's one-cycle schedule; 2e-5 suits a pretrained model."""
    warmup_fraction: float = 0.1
    """Share of steps in which the rate rises, in (0, 1)."""
    weight_decay: float = 0.01
    """AdamW's weight decay; 0 or more."""
    max_grad_norm: float = 1.0
    """Longer gradients are scaled to it; above 0."""

    def __post_init__(self) -> None:
        require_count(1, n_steps=self.n_steps, batch_size=self.batch_size)
        require_above(0, learning_rate=self.learning_rate)
        if self.max_grad_norm != float("inf"):
            require_above(0, max_grad_norm=self.max_grad_norm)
        require_at_least(0, weight_decay=self.weight_decay)
        require_within("(0, 1)", warmup_fraction=self.warmup_fraction)


@dataclass(frozen=True)
class SFTConfig(RowTrainingConfig):
    """Options of `textrl_env.agents.train_sft`; its rows are demonstrations."""


@dataclass(frozen=True)
class DPOConfig(RowTrainingConfig):
    """Options of `textrl_env.agents.train_dpo`; its rows are pairs."""

    learning_rate: float = 5e-4
    """Peak of AdamW's one-cycle schedule; the default suits a small model, 1e-6 a pretrained one."""
    beta: float = 0.1
    """Score given up per nat of KL to the reference, with scores on the scale of log-odds; above 0."""
    loss: Literal["sigmoid", "ipo"] = "sigmoid"
    """DPO's logistic loss, or IPO's squared one, which does not chase log-ratios without end."""
    label_smoothing: float = 0.0
    """How likely a label is wrong (conservative DPO), in [0, 0.5)."""
    max_new_tokens: int | None = None
    """Completions are cut here, without an end token; None leaves them whole."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_above(0, beta=self.beta)
        if self.loss not in ("sigmoid", "ipo"):
            raise InputError(f"loss must be 'sigmoid' or 'ipo', got {self.loss!r}")
        require_within("[0, 0.5)", label_smoothing=self.label_smoothing)
        if self.max_new_tokens is not None:
            require_count(1, max_new_tokens=self.max_new_tokens)


@dataclass(frozen=True)
class KTOConfig(RowTrainingConfig):
    """Options of `textrl_env.agents.train_kto`; its rows are completions with a verdict."""

    learning_rate: float = 5e-4
    """Peak of AdamW's one-cycle schedule; the default suits a small model, 1e-6 a pretrained one."""
    beta: float = 0.1
    """How fast gains and losses saturate, per nat; small stays less near to the reference. Above 0."""
    desirable_weight: float = 1.0
    """Weight of desirable completions; 0 or more."""
    undesirable_weight: float = 1.0
    """Weight of undesirable completions; 0 or more."""
    max_new_tokens: int | None = None
    """Completions end here without an end token, as an environment's length limit ends them; None leaves them whole."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count(2, batch_size=self.batch_size)
        require_above(0, beta=self.beta)
        require_at_least(0, desirable_weight=self.desirable_weight, undesirable_weight=self.undesirable_weight)
        if self.max_new_tokens is not None:
            require_count(1, max_new_tokens=self.max_new_tokens)
