"""Options of reward-model training; no torch, so that the command line can show them at once."""

from dataclasses import dataclass

from textrl_env.errors import InputError


@dataclass(frozen=True)
class RewardModelConfig:
    """Options of `textrl_env.reward_models.training.train_reward_model`."""

    n_epochs: int = 4
    """Passes over the preferences; at least 1."""
    batch_size: int = 16
    """Preferences (a pair or a whole ranking each) per step; at least 1."""
    learning_rate: float = 1.5e-3
    """Peak of AdamW's one-cycle schedule; the default suits a small model, 2e-5 a pretrained one."""
    weight_decay: float = 0.01
    """AdamW's weight decay; 0 or more."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm; above 0."""
    seed: int = 0
    """Of the new score head and of the order of the preferences."""

    def __post_init__(self) -> None:
        for name in ("n_epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0, got {getattr(self, name)}")
        if not self.weight_decay >= 0:
            raise InputError(f"weight_decay must be 0 or more, got {self.weight_decay}")
