"""The checkpoints of a run, side by side: which is the newest good one, and which are kept."""

import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

from textrl_env.errors import InputError
from textrl_env.training.checkpoints import folder as checkpoint_folder

Position = tuple[int, int]
"""How far a run was: updates done, and minibatches done of the next."""


def name_of(position: Position) -> str:
    """`update-000012`, or `update-000012-003` after three minibatches of update 13."""
    updates, minibatches = position
    return f"update-{updates:06d}" + (f"-{minibatches:03d}" if minibatches else "")


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, good or damaged, newest first; none where there is no folder."""
    return [path for _, path in sorted(_found(folder), reverse=True)]


def newest_good(folder: Path) -> Path | None:
    """The newest checkpoint that is as its manifest says, or None where there are none at all.

    A warning names each newer one that is damaged; InputError where all are.
    """
    faults = []
    for path in (found := list_checkpoints(folder)):
        try:
            checkpoint_folder.check(path)
        except InputError as error:
            faults.append(str(error))
        else:
            for fault in faults:
                warnings.warn(f"{fault}: going on from {path} instead", stacklevel=2)
            return path
    if found:
        raise InputError(f"{folder}: none of the {len(found)} checkpoints is whole; the newest: {faults[0]}")
    return None


def prune(folder: Path, *, keep: int) -> None:
    """Deletes all but the newest checkpoints; damaged ones do not count among the `keep` (1 or more) that stay."""
    good = 0
    for path in list_checkpoints(folder) if len(list_checkpoints(folder)) > keep else ():
        if good >= keep:
            checkpoint_folder.remove(path)
        elif _is_good(path):
            good += 1


def set_aside(folder: Path, *, after: Position) -> Path | None:
    """Moves checkpoints of a later position than `after` out of the way, to `FOLDER.old`; returns where, if any.

    They are damaged, or belong to another course of the run. What was set aside before is deleted.
    """
    aside = folder.with_name(f"{folder.name}.old")
    later = [path for position, path in _found(folder) if position > after]
    if not later:
        return None
    if aside.exists():
        shutil.rmtree(aside)
    aside.mkdir()
    for path in later:
        path.rename(aside / path.name)
    return aside


def _found(folder: Path) -> Iterator[tuple[Position, Path]]:
    for path in folder.iterdir() if folder.is_dir() else ():
        if match := re.fullmatch(r"update-(\d{6,})(?:-(\d{3,}))?", path.name):
            yield (int(match[1]), int(match[2] or 0)), path


def _is_good(path: Path) -> bool:
    try:
        checkpoint_folder.check(path)
    except InputError:
        return False
    return True
