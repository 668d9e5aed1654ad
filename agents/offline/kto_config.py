"""Options of Kahneman-Tversky optimisation; no torch."""

from dataclasses import dataclass

from textrl_env.agents.offline.configs import RowTrainingConfig
from textrl_env.errors import require_above, require_at_least


@dataclass(frozen=True)
class KTOConfig(RowTrainingConfig):
    """Options of `textrl_env.agents.offline.kto.train_kto`; its rows are completions with a verdict."""

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
        require_at_least(2, batch_size=self.batch_size)
        require_above(0, beta=self.beta)
        require_at_least(0, desirable_weight=self.desirable_weight, undesirable_weight=self.undesirable_weight)
        if self.max_new_tokens is not None:
            require_at_least(1, max_new_tokens=self.max_new_tokens)
