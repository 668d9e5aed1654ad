"""`--dry-run`: a stage at tiny sizes in a temporary folder, and what the whole will take."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from textrl_env.cli.memory import Footprint, estimate
from textrl_env.errors import InputError


@runtime_checkable
class Rehearsable(Protocol):
    """What a stage needs for a dry run, besides being a stage."""

    writes: ClassVar[tuple[str, ...]]
    """Folders of the run that it writes."""

    def run(self, run_dir: Path, seed: int) -> dict[str, Any]: ...

    def rehearsals(self) -> tuple[Self, Self]:
        """The stage at its tiniest, and with a few iterations more: the difference is the time of an iteration."""

    def work(self, run_dir: Path) -> int:
        """How much there is to do, in a unit that its time is proportional to (completions, rows)."""

    def footprint(self, run_dir: Path) -> Footprint:
        """What it holds in memory at once."""


def dry_run(stage: object, run_dir: Path, seed: int) -> Iterator[str]:
    """Rehearses a stage; lines for the terminal. The run's folder is only read."""
    if not isinstance(stage, Rehearsable):
        raise InputError("this command has no dry run; sft, preferences, reward-model, ppo, train and dpo have one")
    seconds, work = [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for made in run_dir.iterdir() if run_dir.is_dir() else ():
            if made.is_dir() and made.name not in stage.writes:
                (folder / made.name).symlink_to(made.resolve())
        tiny, more = stage.rehearsals()
        # The first one pays for the imports as well, so the tiny one goes again to be compared with.
        for rehearsal in (tiny, tiny, more):
            # Each begins as the stage would, beside nothing of its own.
            for name in stage.writes:
                shutil.rmtree(folder / name, ignore_errors=True)
            started = time.perf_counter()
            rehearsal.run(folder, seed)
            seconds.append(time.perf_counter() - started)
            work.append(rehearsal.work(folder))
        needed = estimate(stage.footprint(folder))
        total = stage.work(folder)
    yield f"one tiny iteration works ({seconds[0]:.1f} s); the run's folder was only read"
    parts = ", ".join(f"{name} {megabytes(value)}" for name, value in needed.items() if value)
    yield f"memory: about {megabytes(sum(needed.values()))} beside Python and its libraries ({parts})"
    rate = max(seconds[2] - seconds[1], 0.0) / max(work[2] - work[1], 1)
    yield f"time: about {duration(seconds[0] + rate * (total - work[0]))} on this machine as busy as it is now"


def megabytes(size: float) -> str:
    """Bytes for people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
