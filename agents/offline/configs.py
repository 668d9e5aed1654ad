"""Options that every training on rows shares; no torch, so that the command line can show them at once."""

from dataclasses import dataclass

from textrl_env.errors import InputError, require_above, require_at_least


@dataclass(frozen=True)
class RowTrainingConfig:
    """Options of `textrl_env.agents.offline.loop.train_on_rows`."""

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
        require_at_least(1, n_steps=self.n_steps, batch_size=self.batch_size)
        require_above(0, learning_rate=self.learning_rate, max_grad_norm=self.max_grad_norm)
        require_at_least(0, weight_decay=self.weight_decay)
        if not 0 < self.warmup_fraction < 1:
            raise InputError(f"warmup_fraction must be in (0, 1), got {self.warmup_fraction}")
