"""The checkpoints of a run, side by side: saved while it trains, counted, pruned, and the newest good one found."""

import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from textrl_env.errors import InputError, require_count
from textrl_env.files import remove_folder, sweep
from textrl_env.training.checkpoints import folder as checkpoint_folder

Position = tuple[int, int]
"""The progress of a run: updates done, and minibatches done of the next."""


class CheckpointSaver:
    """Saves to `FOLDER/update-000010` and so on, and once more when training ends or is stopped.

    Checkpoints of a later position than where training starts belong to another course of the run: they are moved to
    `FOLDER.old`, with a warning. Where one cannot be written on the way (a full disk), training warns, goes on and
    tries again after the next update; at the end that is an InputError.

    Args:
        folder: of one run.
        every_updates: updates between two checkpoints, 1 or more.
        keep: number of the newest that stay, 1 or more; damaged ones do not count, so the last good one always stays.
    """

    def __init__(self, folder: str | Path, *, every_updates: int = 10, keep: int = 2) -> None:
        require_count(1, every_updates=every_updates, keep=keep)
        self.folder, self.every_updates, self.keep = Path(folder), every_updates, keep
        self.last: Path | None = None
        """The last checkpoint that was saved."""

    def begin(self, position: Position, *, writes: bool = True) -> None:
        """Notes the position from which training starts or goes on.

        Of several processes that train together all save, since each has a part of the state, and one `writes`.
        """
        self._last_position, self._writes = position, writes
        if writes:
            sweep(self.folder)
        if writes and (aside := set_aside(self.folder, after=position)):
            warnings.warn(f"checkpoints of an earlier course of the run are now in {aside}", stacklevel=3)

    def after_update(self, position: Position, save: Callable[[Path], object]) -> None:
        """Saves if it is time; `save` writes a checkpoint to the path it is given."""
        if position[0] - self._last_position[0] >= self.every_updates:
            try:
                self._save(position, save)
            except InputError as error:
                warnings.warn(f"{error}. Training goes on", stacklevel=3)

    def end(self, position: Position, save: Callable[[Path], object], *, again: bool = False) -> None:
        """Saves the last updates if they are not saved yet, or `again` where more than they has changed.

        Raises:
            InputError: the checkpoint cannot be written.
        """
        if again or position != self._last_position:
            self._save(position, save)

    def _save(self, position: Position, save: Callable[[Path], object]) -> None:
        path = self.folder / name_of(position)
        if self._writes:
            sweep(self.folder)
        save(path)
        if self._writes:
            prune(self.folder, keep=self.keep)
        self._last_position, self.last = position, path


def name_of(position: Position) -> str:
    """Returns `update-000012`, or `update-000012-003` after three minibatches of update 13."""
    updates, minibatches = position
    return f"update-{updates:06d}" + (f"-{minibatches:03d}" if minibatches else "")


def list_checkpoints(folder: str | Path) -> list[Path]:
    """Lists the checkpoints of a folder, good or damaged, newest first; none where there is no folder."""
    return [path for _, path in sorted(_positions(Path(folder)), reverse=True)]


def newest_good(folder: str | Path) -> Path | None:
    """Finds the newest checkpoint that is as its manifest says; None where there are none at all.

    A warning names each newer one that is damaged.

    Raises:
        InputError: all are damaged.
    """
    faults = []
    paths = list_checkpoints(folder)
    for path in paths:
        try:
            checkpoint_folder.check(path)
        except InputError as error:
            faults.append(str(error))
        else:
            for fault in faults:
                warnings.warn(f"{fault}: going on from {path} instead", stacklevel=2)
            return path
    if paths:
        raise InputError(f"{folder}: none of the {len(paths)} checkpoints is whole; the newest: {faults[0]}")
    return None


def prune(folder: Path, *, keep: int) -> None:
    """Deletes all but the newest checkpoints; damaged ones do not count among the `keep` (1 or more) that stay."""
    good = 0
    for path in list_checkpoints(folder) if len(list_checkpoints(folder)) > keep else ():
        if good >= keep:
            remove_folder(path)
        elif _is_good(path):
            good += 1


def set_aside(folder: Path, *, after: Position) -> Path | None:
    """Moves checkpoints of a later position than `after` out of the way, to `FOLDER.old`; returns where, if any.

    They are damaged, or belong to another course of the run. What was set aside before is deleted.
    """
    aside = folder.with_name(f"{folder.name}.old")
    later = [path for position, path in _positions(folder) if position > after]
    if not later:
        return None
    if aside.exists():
        shutil.rmtree(aside)
    aside.mkdir()
    for path in later:
        path.rename(aside / path.name)
    return aside


def _positions(folder: Path) -> Iterator[tuple[Position, Path]]:
    for path in folder.iterdir() if folder.is_dir() else ():
        if match := re.fullmatch(r"update-(\d{6,})(?:-(\d{3,}))?", path.name):
            yield (int(match[1]), int(match[2] or 0)), path


def _is_good(path: Path) -> bool:
    try:
        checkpoint_folder.check(path)
    except InputError:
        return False
    return True
