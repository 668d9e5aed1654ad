"""How the cost of a PPO iteration grows: seconds and memory against batch, completion length and vocabulary.

Starts from size XS and raises one quantity at a time, each point in a process of its own, whose peak memory is
measured beyond what it had before the first iteration. Cost that grows no faster than the quantity shows as seconds, or
megabytes, per unit of it that do not rise from any point to the largest one. With `microbatch_size` no tensor of
(batch, tokens, vocabulary) is held: what of the peak does not shrink with the part of a minibatch is less than one such
tensor. Prints tables and writes JSON.

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

LARGEST = AXES["vocabulary"][-1].vocabulary
MOST_GROWTH = 1.1


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
        start = time.process_time()
        algorithm.learn(total_updates=1)
        seconds.append(time.process_time() - start)
    return {"seconds": median(seconds[1:]), "peak_mb": _peak() - before, "n_tokens": algorithm.rollout.n_tokens}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def judge(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Judges every promise about the axes that were measured."""
    verdicts = []
    series = {(row["axis"], row["microbatch_size"]) for row in rows}
    for axis, microbatch in sorted(series, key=str):
        points = [row for row in rows if (row["axis"], row["microbatch_size"]) == (axis, microbatch)]
        for figure in ("seconds", "peak_mb"):
            *earlier, last = [point[figure] / point[axis] for point in points]
            if earlier:
                growth = last / min(earlier)
                promise = f"{figure} per unit of {axis}, the largest point / the least of the others"
                verdicts.append(_verdict(promise, microbatch, growth, MOST_GROWTH))
    largest = [row for row in rows if row["axis"] == "vocabulary" and row["vocabulary"] == LARGEST]
    for whole in (row for row in largest if not row["microbatch_size"]):
        for part in (row for row in largest if row["microbatch_size"]):
            share = part["microbatch_size"] / (whole["completions"] - part["microbatch_size"])
            rest = part["peak_mb"] - share * (whole["peak_mb"] - part["peak_mb"])
            logits = whole["completions"] * whole["tokens"] * LARGEST * 4 / 2**20
            promise = f"peak that no microbatch accounts for / logits of all completions, {LARGEST:,} tokens"
            verdicts.append(_verdict(promise, part["microbatch_size"], rest / logits, 1.0))
    return verdicts


def _verdict(promise: str, microbatch: int | None, ratio: float, most: float) -> dict[str, Any]:
    return {"promise": promise, "microbatch": microbatch, "ratio": ratio, "at most": most, "holds": ratio <= most}


def bars(verdicts: list[dict[str, Any]]) -> Table:
    """A row a promise."""
    table = Table("promise", "microbatch", "found", "at most", "", title="bars", title_justify="left")
    for row in verdicts:
        mark = "[green]holds[/green]" if row["holds"] else "[red]falls short[/red]"
        table.add_row(
            row["promise"], str(row["microbatch"] or "all"), f"{row['ratio']:.2f}", f"{row['at most']:.1f}", mark
        )
    return table


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
                    figures = pool.apply(measure, (size, microbatch, args.iterations))
                    rows.append({"axis": axis, "microbatch_size": microbatch, **asdict(size), **figures})
                    table.add_row(
                        axis,
                        str(getattr(size, axis)),
                        str(microbatch or "all"),
                        f"{figures['seconds']:.2f}",
                        f"{figures['seconds'] / figures['n_tokens'] * 1e6:.0f}",
                        f"{figures['peak_mb']:.0f}",
                    )
    verdicts = judge(rows)
    Console().print(table, bars(verdicts))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"rows": rows, "bars": verdicts}, indent=1) + "\n")
    return rows


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
