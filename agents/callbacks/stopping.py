"""Callbacks that end training early."""

from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from textrl_env.errors import require_above


class StopOnKL(BaseCallback):
    """Ends training once the policy is too far from its reference.

    The update of the rollout that was too far is still made: Stable-Baselines3's callbacks end training only between
    steps of the environment.

    Args:
        max_kl: the largest mean KL of a rollout, in nats per completion; above 0.

    Attributes:
        stopped_at: the KL that ended training, or None.
    """

    def __init__(self, max_kl: float) -> None:
        super().__init__()
        require_above(0, max_kl=max_kl)
        self.max_kl = max_kl
        self.stopped_at: float | None = None

    def _on_training_start(self) -> None:
        self.stopped_at = None

    def _on_rollout_end(self) -> None:
        algorithm: Any = self.model
        kl = float(algorithm.rollout.kl.mean())
        if kl > self.max_kl:
            self.stopped_at = kl

    def _on_step(self) -> bool:
        return self.stopped_at is None
