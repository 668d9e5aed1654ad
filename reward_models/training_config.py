"""Options of reward-model training; no torch, so that the command line can show them at once."""

from dataclasses import dataclass

from textrl_env.errors import require_above, require_at_least


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

    def __post_init__(self) -> None:
        require_at_least(1, n_epochs=self.n_epochs, batch_size=self.batch_size)
        require_above(0, learning_rate=self.learning_rate, max_grad_norm=self.max_grad_norm)
        require_at_least(0, weight_decay=self.weight_decay)
