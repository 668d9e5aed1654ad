"""How the cost of a PPO iteration grows: seconds and memory against batch, completion length and vocabulary.

Starts from size XS and doubles one quantity at a time, each point in a process of its own, whose peak memory is
measured beyond what it had before the first iteration. Linear growth shows as seconds per token that do not rise.
Memory must not grow with the batch where `microbatch_size` is given: no tensor of (batch, tokens, vocabulary) outlives
a part of a minibatch. Prints a table and writes JSON.

    python benchmarks/scaling.py
"""

import json
import multiprocessing
import resource
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
import tyro
from iteration.job import SIZES, Job, Size, write_job
from iteration.ours import ppo
from iteration.turns import Stopwatch
from rich.console import Console
from rich.table import Table

SMALLEST = SIZES["XS"]
AXES: dict[str, list[Size]] = {
    "completions": [replace(SMALLEST, completions=count) for count in (64, 128, 256, 512)],
    "tokens": [replace(SMALLEST, tokens=count) for count in (32, 64, 128, 256)],
    "vocabulary": [replace(SMALLEST, vocabulary=count) for count in (1_000, 5_000, 10_000, 50_000)],
}


@dataclass(frozen=True)
class Args:
    """Options of the benchmark."""

    axes: tuple[str, ...] = tuple(AXES)
    """Quantities to vary."""
    microbatch_size: int = 16
    """Completions per forward and backward pass; every point is also measured without."""
    iterations: int = 3
    """Per point, after one that warms up; the median is reported."""
    out: Path = Path(__file__).parent / "results" / "scaling.json"
    """The measurements."""


def measure(size: Size, microbatch_size: int | None, iterations: int) -> dict[str, float]:
    """Processor seconds of an iteration with one thread, and the peak of memory over all of them, in this process."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_job(Path(folder), size)
        algorithm = ppo(Job(Path(folder)), Stopwatch(), microbatch_size=microbatch_size)
    before, seconds = _peak(), []
    for _ in range(iterations + 1):
        started = time.process_time()
        algorithm.learn(total_updates=1)
        seconds.append(time.process_time() - started)
    return {"seconds": median(seconds[1:]), "peak_mb": _peak() - before, "tokens": algorithm.rollout.n_tokens}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(args: Args) -> list[dict[str, Any]]:
    """Measures, prints, writes; returns the rows."""
    rows = []
    table = Table(
        "varied", "value", "microbatch", "s / iteration", "µs / token", "memory, MB", title="one PPO iteration"
    )
    # One process a point, started afresh: a peak of memory never goes down.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for axis in args.axes:
            for size in AXES[axis]:
                for microbatch in (None, args.microbatch_size):
                    found = pool.apply(measure, (size, microbatch, args.iterations))
                    rows.append({"axis": axis, "microbatch_size": microbatch, **asdict(size), **found})
                    table.add_row(
                        axis, str(getattr(size, axis)), str(microbatch or "all"), f"{found['seconds']:.2f}",
                        f"{found['seconds'] / found['tokens'] * 1e6:.0f}", f"{found['peak_mb']:.0f}",
                    )  # fmt: skip
    Console().print(table)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(rows, indent=1) + "\n")
    return rows


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
