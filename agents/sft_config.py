"""Options of supervised fine-tuning; no torch, so that the command line can show them at once."""

from dataclasses import dataclass

from textrl_env.errors import InputError


@dataclass(frozen=True)
class SFTConfig:
    """Options of `textrl_env.agents.sft.train_sft`."""

    n_steps: int = 400
    """Optimizer steps; at least 1."""
    batch_size: int = 32
    """Demonstrations per step; at least 1."""
    learning_rate: float = 5e-3
    """Peak of AdamW's one-cycle schedule; the default suits a small model from scratch, 2e-5 a pretrained one."""
    warmup_fraction: float = 0.1
    """Share of the steps over which the learning rate rises, in (0, 1)."""
    weight_decay: float = 0.01
    """AdamW's weight decay; 0 or more."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm; above 0."""
    seed: int = 0
    """Of the order of the demonstrations."""

    def __post_init__(self) -> None:
        for name in ("n_steps", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0, got {getattr(self, name)}")
        if not 0 < self.warmup_fraction < 1:
            raise InputError(f"warmup_fraction must be in (0, 1), got {self.warmup_fraction}")
        if not self.weight_decay >= 0:
            raise InputError(f"weight_decay must be 0 or more, got {self.weight_decay}")
