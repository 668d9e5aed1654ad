"""A stage of the pipeline, run, timed and written down in the run's folder."""

import platform
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TypeVar

from textrl_env.errors import require_seed
from textrl_env.files import locked, sweep, writing
from textrl_env.pipeline.option_paths import check_paths
from textrl_env.pipeline.runs.folder import write_json
from textrl_env.training.distributed import process_index

PACKAGES = ("textrl-env", "torch", "transformers", "tokenizers", "gymnasium", "stable-baselines3", "numpy")


class StageStoppedError(Exception):
    """Ctrl-C or SIGTERM ended a stage early; the message says where its work so far was saved.

    Attributes:
        exit_code: of a command that ends so, 128 and the signal's number.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class StageOptions(Protocol):
    """Options of a stage; a frozen dataclass."""

    @property
    def folder(self) -> str:
        """The stage's folder in the run's."""


AnyOptions = TypeVar("AnyOptions", bound=StageOptions)


def run_stage(
    run: Callable[[AnyOptions, Path, int], dict[str, Any]], options: AnyOptions, run_dir: Path, seed: int = 0
) -> dict[str, Any]:
    """Runs a stage, as `run_stage(run_sft, SFTOptions(), run_dir)`; returns its metrics.

    Writes them to `metrics.json` in the stage's folder, and to `manifest.json` there the command, options, versions
    and seconds. After a stop both are removed: what was saved is not what an earlier run's numbers speak of. Of several
    processes one does this. The run's folder is locked meanwhile.

    Raises:
        InputError: another process is writing into the run's folder, or what the stage raises.
    """
    require_seed(seed)
    folder = run_dir / options.folder
    check_paths(options, folders=[folder, *([run_dir / name] if (name := getattr(options, "exports", None)) else ())])
    if process_index() > 0:
        return run(options, run_dir, seed)
    with locked(run_dir):
        return _run_alone(run, options, run_dir, seed)


def forget_results(folder: Path) -> None:
    """Removes a stage's metrics.json and manifest.json, which speak of a model that is about to be replaced."""
    for name in ("metrics.json", "manifest.json"):
        (folder / name).unlink(missing_ok=True)


def _run_alone(
    run: Callable[[AnyOptions, Path, int], dict[str, Any]], options: AnyOptions, run_dir: Path, seed: int
) -> dict[str, Any]:
    folder = run_dir / options.folder
    # What a killed process left half-written.
    with writing(folder):
        for place in (run_dir, folder):
            sweep(place)
    start = time.perf_counter()
    try:
        metrics = run(options, run_dir, seed)
    except StageStoppedError:
        forget_results(folder)
        raise
    write_json(folder / "metrics.json", metrics)
    manifest = {
        "command": command_line(),
        "seconds": round(time.perf_counter() - start, 1),
        "seed": seed,
        "config": _replace_paths(asdict(options)),  # type: ignore[call-overload]
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }
    write_json(folder / "manifest.json", manifest)
    return metrics


def command_line() -> str:
    """Returns the command that runs, as a user would type it."""
    return shlex.join(["textrl", *sys.argv[1:]])


def _replace_paths(value: Any) -> Any:
    """Returns a value with its paths as texts, through nested mappings."""
    if isinstance(value, dict):
        return {key: _replace_paths(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value
