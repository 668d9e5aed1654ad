"""When a training saves checkpoints, and what becomes of those that are there already."""

import warnings
from collections.abc import Callable
from pathlib import Path

from textrl_env.errors import InputError, require_at_least
from textrl_env.training.checkpoints.folder import sweep
from textrl_env.training.checkpoints.run_checkpoints import Position, name_of, prune, set_aside


class CheckpointSaver:
    """Saves to `FOLDER/update-000010` and so on, and once more when training ends or is stopped.

    Checkpoints of a later position than where training starts belong to another course of the run: they are moved to
    `FOLDER.old`, with a warning. Where one cannot be written on the way (a full disk), training warns, goes on and
    tries again after the next update; at the end that is an InputError.

    Args:
        folder: of one run.
        every_updates: how often, 1 or more.
        keep: how many of the newest stay, 1 or more; damaged ones do not count, so the last good one always stays.
    """

    def __init__(self, folder: str | Path, *, every_updates: int = 10, keep: int = 2) -> None:
        require_at_least(1, every_updates=every_updates, keep=keep)
        self.folder, self.every_updates, self.keep = Path(folder), every_updates, keep
        self.last: Path | None = None
        """The last checkpoint that was saved."""

    def begin(self, position: Position, *, writes: bool = True) -> None:
        """Training starts, or goes on, from there.

        Of several processes that train together all save, since each has a part of the state, and one `writes`.
        """
        self._saved, self._writes = position, writes
        if writes and (aside := set_aside(self.folder, after=position)):
            warnings.warn(f"checkpoints of an earlier course of the run are now in {aside}", stacklevel=3)

    def after_update(self, position: Position, save: Callable[[Path], object]) -> None:
        """Saves if it is time; `save` writes a checkpoint to the path it is given."""
        if position[0] - self._saved[0] >= self.every_updates:
            try:
                self._save(position, save)
            except InputError as error:
                warnings.warn(f"{error}. Training goes on", stacklevel=3)

    def end(self, position: Position, save: Callable[[Path], object]) -> None:
        """Saves what is not saved yet; InputError where it cannot be written."""
        if position != self._saved:
            self._save(position, save)

    def _save(self, position: Position, save: Callable[[Path], object]) -> None:
        path = self.folder / name_of(position)
        if self._writes:
            sweep(self.folder)
        save(path)
        if self._writes:
            prune(self.folder, keep=self.keep)
        self._saved, self.last = position, path
