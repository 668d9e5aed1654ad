"""Options of direct preference optimisation; no torch, so that the command line can show them at once."""

from dataclasses import dataclass
from typing import Literal

from textrl_env.agents.offline.configs import RowTrainingConfig
from textrl_env.errors import InputError, require_above, require_at_least


@dataclass(frozen=True)
class DPOConfig(RowTrainingConfig):
    """Options of `textrl_env.agents.offline.dpo.train_dpo`; its rows are pairs."""

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
        if not 0 <= self.label_smoothing < 0.5:
            raise InputError(f"label_smoothing must be in [0, 0.5), got {self.label_smoothing}")
        if self.max_new_tokens is not None:
            require_at_least(1, max_new_tokens=self.max_new_tokens)
