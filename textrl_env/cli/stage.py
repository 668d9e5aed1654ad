"""What a stage of the pipeline is, and how it is run, timed and written down."""

import platform
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Generic, Protocol, TypeVar

import tyro
from rich.console import Console, RenderableType

from textrl_env.cli.config_file import as_yaml
from textrl_env.cli.dry_run import dry_run
from textrl_env.cli.run_folder import write_json
from textrl_env.cli.run_options import RunOptions
from textrl_env.errors import InputError
from textrl_env.training.distributed import process_index

PACKAGES = ("textrl-env", "torch", "transformers", "tokenizers", "gymnasium", "stable-baselines3", "numpy")


class Stopped(Exception):
    """Ctrl-C or SIGTERM ended a stage early; the message says where what it has made so far was saved."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Stage(Protocol):
    """A stage's options; a frozen dataclass."""

    @property
    def folder(self) -> str:
        """The stage's folder in the run's."""

    def run(self, run_dir: Path, seed: int) -> dict[str, Any]:
        """Does the stage's work in the run's folder; returns its metrics. Raises InputError and Stopped."""

    def outcome(self, run_dir: Path, metrics: dict[str, Any]) -> Iterator[RenderableType]:
        """What to show a user when it is done: the result, where it is, and what comes next."""


AnyStage = TypeVar("AnyStage", bound=Stage)


@dataclass(frozen=True)
class InRun(Generic[AnyStage]):
    """A stage as a subcommand: its options, and the run it belongs to."""

    stage: Annotated[AnyStage, tyro.conf.arg(name="", help="")]
    run_dir: Path = Path("runs/mine")
    """The run's folder."""
    seed: int = 0
    """Of everything random."""
    how: Annotated[RunOptions, tyro.conf.arg(name="", help="")] = field(default_factory=RunOptions)

    def run(self) -> None:
        """Runs the stage and prints its outcome, or what was asked for instead."""
        console = Console(quiet=process_index() > 0)
        if self.how.print_config:
            print(as_yaml(self), end="")
            return
        shown: Iterator[RenderableType]
        if self.how.dry_run:
            shown = dry_run(self.stage, self.run_dir, self.seed)
        else:
            shown = self.stage.outcome(self.run_dir, perform(self.stage, self.run_dir, self.seed))
        for line in shown:
            console.print(line, soft_wrap=isinstance(line, str), highlight=False)


def perform(stage: Stage, run_dir: Path, seed: int) -> dict[str, Any]:
    """Runs a stage; returns its metrics.

    Writes them to `metrics.json` in the stage's folder, and to `manifest.json` there the command, options, versions
    and seconds. After a stop both are removed: what was saved is not what an earlier run's numbers speak of. Of several
    processes one does this.
    """
    if run_dir.exists() and not run_dir.is_dir():
        raise InputError(f"{run_dir}: is a file, expected the run's folder")
    folder = run_dir / stage.folder
    started = time.perf_counter()
    try:
        metrics = stage.run(run_dir, seed)
    except Stopped:
        for name in ("metrics.json", "manifest.json"):
            (folder / name).unlink(missing_ok=True)
        raise
    if process_index() > 0:
        return metrics
    write_json(folder / "metrics.json", metrics)
    manifest = {
        "command": command_line(),
        "seconds": round(time.perf_counter() - started, 1),
        "seed": seed,
        "config": _plain(asdict(stage)),  # type: ignore[call-overload]
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }
    write_json(folder / "manifest.json", manifest)
    return metrics


def command_line() -> str:
    """The command that runs, as a user would type it."""
    return shlex.join(["textrl", *sys.argv[1:]])


def _plain(value: Any) -> Any:
    """Paths as texts, through nested mappings."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value
