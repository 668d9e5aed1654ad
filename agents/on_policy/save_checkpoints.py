"""A callback that saves checkpoints while training goes on, and one that is stopped where it stopped."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from stable_baselines3.common.callbacks import BaseCallback

from textrl_env.training.checkpoints import CheckpointSaver

if TYPE_CHECKING:
    from textrl_env.agents.on_policy.loop import OnPolicyAlgorithm


class SaveCheckpoints(BaseCallback):
    """`textrl_env.training.checkpoints.saver.CheckpointSaver` as a callback of `learn`; its arguments are the same.

    Where several processes train together, all of them have the callback, and one writes.
    """

    def __init__(self, folder: str | Path, *, every_updates: int = 10, keep: int = 2) -> None:
        super().__init__()
        self.saver = CheckpointSaver(folder, every_updates=every_updates, keep=keep)

    @property
    def _algorithm(self) -> "OnPolicyAlgorithm":
        return cast("OnPolicyAlgorithm", self.model)

    def _on_training_start(self) -> None:
        self.saver.begin(self._algorithm.position, writes=self._algorithm.processes.writes)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self.saver.after_update(self._algorithm.position, self._algorithm.save)

    def _on_training_end(self) -> None:
        self.saver.end(self._algorithm.position, self._algorithm.save)
