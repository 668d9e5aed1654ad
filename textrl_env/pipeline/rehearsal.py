"""Dry runs: a stage at tiny sizes in a temporary folder, and what the whole will take."""

import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import singledispatch
from pathlib import Path
from typing import Any, TypeVar

from textrl_env.errors import InputError
from textrl_env.pipeline.dpo import DPOOptions, make_pairs, read_dpo_rows
from textrl_env.pipeline.policy_inputs import PolicyOptions
from textrl_env.pipeline.preferences import PreferencesOptions
from textrl_env.pipeline.resume import CheckpointOptions
from textrl_env.pipeline.reward_model import RewardModelOptions, read_reward_rows
from textrl_env.pipeline.sft import SFTOptions, read_demonstrations

AnyOptions = TypeVar("AnyOptions")


@dataclass(frozen=True)
class Rehearsal:
    """Measures of a dry run.

    Attributes:
        seconds: of the tiny iteration, imports included.
        peak_bytes: most memory by its end: that torch held on the GPU where there is one, else of the whole process.
        on_gpu: tells which of the two.
        total_seconds: estimate for the whole stage, on this machine as busy as it is now.
    """

    seconds: float
    peak_bytes: int
    on_gpu: bool
    total_seconds: float


def rehearse(
    run: Callable[[AnyOptions, Path, int], dict[str, Any]], options: AnyOptions, run_dir: Path, seed: int = 0
) -> Rehearsal:
    """Runs a stage at its tiniest, and with a few iterations more: the difference is the time of an iteration.

    The run's folder is only read. Raises InputError for a stage that has no tiny form.
    """
    tiny, more = shrink(options)
    folders = list_written_folders(options)
    seconds, work, peaks = [], [], []
    with tempfile.TemporaryDirectory() as temporary, _each_warning_once():
        copy = Path(temporary)
        for path in run_dir.iterdir() if run_dir.is_dir() else ():
            if path.is_dir() and path.name not in folders:
                (copy / path.name).symlink_to(path.resolve())
        # The first one pays for the imports as well, so the tiny one goes again to be compared with.
        for rehearsal in (tiny, tiny, more):
            # Each begins as the stage would, beside nothing of its own.
            for name in folders:
                shutil.rmtree(copy / name, ignore_errors=True)
            start = time.perf_counter()
            run(rehearsal, copy, seed)
            seconds.append(time.perf_counter() - start)
            work.append(count_work(rehearsal, copy))
            peaks.append(measure_peak_memory())
        total_work = count_work(options, copy)
    rate = max(seconds[2] - seconds[1], 0.0) / max(work[2] - work[1], 1)
    return Rehearsal(seconds[0], *peaks[0], seconds[0] + rate * (total_work - work[0]))


@contextmanager
def _each_warning_once() -> Iterator[None]:
    """Shows a warning once, though the same rows are read for every iteration."""
    with warnings.catch_warnings():
        show, messages = warnings.showwarning, set[str]()

        def show_new(message: Warning | str, *place: Any, **more: Any) -> None:
            if str(message) not in messages:
                messages.add(str(message))
                show(message, *place, **more)

        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show_new
        yield


def measure_peak_memory() -> tuple[int, bool]:
    """Returns the most bytes so far, and True where torch held them on the GPU, False where this process did."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated(), True

    import resource  # Windows has none.

    # Linux counts in kilobytes, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024), False


NO_DRY_RUN = "this command has no dry run; sft, preferences, reward-model, ppo, train and dpo have one"


@singledispatch
def shrink(options: Any) -> tuple[Any, Any]:
    """Returns a stage's options at their tiniest, and with a few iterations more."""
    raise InputError(NO_DRY_RUN)


@singledispatch
def count_work(options: Any, run_dir: Path) -> int:
    """Returns how much a stage has to do, in a unit that its time is proportional to."""
    raise InputError(NO_DRY_RUN)


def list_written_folders(options: Any) -> set[str]:
    """Returns the folders of the run that a stage writes: its own, and that of the policy it exports."""
    return {options.folder, Path(getattr(options, "exports", options.folder)).parts[0]}


@shrink.register
def _(options: SFTOptions) -> tuple[SFTOptions, SFTOptions]:
    """Returns options for one step, and for three."""
    tiny = replace(
        options,
        n_demonstrations=min(options.n_demonstrations, 500),
        training=replace(options.training, n_steps=1),
        checkpoints=CheckpointOptions(),
    )
    return tiny, replace(tiny, training=replace(options.training, n_steps=3))


@count_work.register
def _(options: SFTOptions, run_dir: Path) -> int:
    """Returns demonstrations in training steps, and a third of those evaluated on: a forward pass only."""
    steps = options.training.n_steps
    evaluations = steps // max(1, steps // 10) + 1
    return steps * options.training.batch_size + evaluations * len(read_demonstrations(options, 0)[1]) // 3


@shrink.register
def _(options: PreferencesOptions) -> tuple[PreferencesOptions, PreferencesOptions]:
    """Returns options for twelve prompts, and for sixty."""
    tiny = replace(options, n_prompts=min(options.n_prompts, 10), n_heldout=min(options.n_heldout, 2))
    return tiny, replace(tiny, n_prompts=min(options.n_prompts, 58))


@count_work.register
def _(options: PreferencesOptions, run_dir: Path) -> int:
    """Returns completions."""
    return options.k * (options.n_prompts + options.n_heldout)


@shrink.register
def _(options: RewardModelOptions) -> tuple[RewardModelOptions, RewardModelOptions]:
    """Returns options for one step, and for three; with a frozen trunk that is one batch of rows, and three."""
    tiny = replace(
        options,
        n_preferences=options.training.batch_size,
        training=replace(options.training, n_epochs=1),
        checkpoints=CheckpointOptions(),
    )
    if options.kind.train == "head":
        return tiny, replace(tiny, n_preferences=3 * options.training.batch_size)
    return tiny, replace(tiny, training=replace(tiny.training, n_epochs=3))


@count_work.register
def _(options: RewardModelOptions, run_dir: Path) -> int:
    """Returns rows that go through the model; with a frozen trunk each does so once."""
    n_rows = len(read_reward_rows(options, run_dir)[0])
    return n_rows if options.kind.train == "head" else n_rows * options.training.n_epochs


@shrink.register
def _(options: DPOOptions) -> tuple[DPOOptions, DPOOptions]:
    """Returns options for one step, and for three, on one batch of rows."""
    tiny = replace(
        options,
        n_preferences=options.training.batch_size,
        training=replace(options.training, n_steps=1),
        checkpoints=CheckpointOptions(),
    )
    return tiny, replace(tiny, training=replace(options.training, n_steps=3))


@count_work.register
def _(options: DPOOptions, run_dir: Path) -> int:
    """Returns pairs in training steps, and a third of those that only go forward: all once, held-out ones ten times."""
    train, heldout = (len(make_pairs(rows)) for rows in read_dpo_rows(options, run_dir))
    steps = options.training.n_steps
    evaluations = steps // max(1, steps // 10) + 1
    return steps * options.training.batch_size + (train + (1 + evaluations) * heldout) // 3


@shrink.register
def _(options: PolicyOptions) -> tuple[PolicyOptions, PolicyOptions]:
    """Returns options for one update of a minibatch, and for three."""
    tiny = replace(options, n_updates=1, n_episodes=options.batch_size, n_prompts=min(options.n_prompts, 64))
    return tiny, replace(tiny, n_updates=3)


@count_work.register
def _(options: PolicyOptions, run_dir: Path) -> int:
    """Returns completions."""
    return options.n_updates * options.n_episodes
