"""A callback that saves checkpoints while training goes on, and one that is stopped where it stopped."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, cast

from stable_baselines3.common.callbacks import BaseCallback

from textrl_env.agents import checkpoint
from textrl_env.agents.checkpoint_folder import name_of, prune, set_aside
from textrl_env.errors import InputError, require_at_least

if TYPE_CHECKING:
    from textrl_env.agents.on_policy import OnPolicyAlgorithm


class SaveCheckpoints(BaseCallback):
    """Saves to `FOLDER/update-000010` and so on, and once more when training ends or is stopped.

    Checkpoints of a later position than where training starts belong to another course of the run: they are moved to
    `FOLDER.old`, with a warning. Where one cannot be written on the way (a full disk), training warns, goes on and
    tries again after the next update; at the end that is an InputError. Where several processes train together, all of
    them have the callback, and one writes.

    Args:
        folder: of one run.
        every_updates: how often, 1 or more.
        keep: how many of the newest stay, 1 or more; damaged ones do not count, so the last good one always stays.
    """

    def __init__(self, folder: str | Path, *, every_updates: int = 10, keep: int = 2) -> None:
        super().__init__()
        require_at_least(1, every_updates=every_updates, keep=keep)
        self.folder, self.every_updates, self.keep = Path(folder), every_updates, keep

    @property
    def _algorithm(self) -> "OnPolicyAlgorithm":
        return cast("OnPolicyAlgorithm", self.model)

    @property
    def _writes(self) -> bool:
        return self._algorithm.processes.writes

    def _on_training_start(self) -> None:
        self._saved = self._algorithm.position
        if self._writes and (aside := set_aside(self.folder, after=self._saved)):
            warnings.warn(f"checkpoints of an earlier course of the run are now in {aside}", stacklevel=2)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self._algorithm.n_updates - self._saved[0] >= self.every_updates:
            try:
                self._save()
            except InputError as error:
                warnings.warn(f"{error}. Training goes on", stacklevel=2)

    def _on_training_end(self) -> None:
        if self._algorithm.position != self._saved:
            self._save()

    def _save(self) -> None:
        position = self._algorithm.position
        if self._writes:
            checkpoint.sweep(self.folder)
        self._algorithm.save(self.folder / name_of(position))
        self._saved = position
        if self._writes:
            prune(self.folder, keep=self.keep)
