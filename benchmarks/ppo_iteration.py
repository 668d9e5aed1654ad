"""How long one PPO iteration takes: ours, a hand-written floor, and other libraries on the same job.

The job: a GPT-2 policy with critic, reference and reward model of random weights; 64 completions of 32 tokens after
prompts of 4 to 16; 4 epochs of one minibatch. GRPO and RLOO do it without a critic, in groups of 8 completions.

Every variant is a process of its own that does one iteration when it is its turn, round by round, so that a busy
machine slows all of them alike; compare rows of one run, never of two. The first round warms up and is not counted.
Prints a table for each size with the ratios that were promised, and writes JSON. `make bench-env` makes the
environments of the peers; a variant that cannot run is reported as such, the others go on.

    python benchmarks/ppo_iteration.py --sizes XS S
"""

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import tyro
from iteration.job import SIZES, write_job
from iteration.table import ByVariant, Samples, judge, show
from iteration.variants import THREE, VARIANTS
from iteration.work import left_out
from iteration.workers import BENCHMARKS, Worker, WorkerError
from rich.progress import Progress

ITERATIONS = {"XS": 9, "S": 5, "M": 2}


@dataclass(frozen=True)
class Args:
    """Options of the benchmark."""

    sizes: tuple[str, ...] = tuple(SIZES)
    """Of the networks: XS (2 layers, width 64, vocabulary 256), S (4, 256, 1024), M (6, 512, 2048)."""
    iterations: int | None = None
    """How often each variant is measured; the median is reported. Not given: 9 at XS, 5 at S, 2 at M."""
    variants: tuple[str, ...] = ()
    """Rows to measure, by name; none names all that exist at a size, in bfloat16 only where that gains anything."""
    threads: tuple[int, ...] = (1, 2)
    """Numbers of threads; with 1 processor seconds are reported, else wall seconds."""
    out: Path = field(default=BENCHMARKS / "results" / "ppo_iteration.json")
    """The measurements."""
    logs: Path = Path("runs/benchmarks/ppo_iteration")
    """What the processes print, a file each."""


def main(args: Args) -> dict[str, Any]:
    """Measures, writes after each size, prints; returns what was written."""
    samples: Samples = {}
    failures: dict[str, dict[str, str]] = {}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for size in args.sizes:
        samples[size], failures[size] = measure(size, args)
        result = {"machine": machine(), "samples": samples, "could not run": failures, "bars": judge(samples)}
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    show(samples, failures)
    print(f"written: {args.out}")
    return result


def measure(size: str, args: Args) -> tuple[ByVariant, dict[str, str]]:
    """Turns by variant and number of threads, and why variants failed."""
    names = [name for name in args.variants or VARIANTS if size in VARIANTS[name].sizes]
    samples: ByVariant = {}
    failures: dict[str, str] = {}
    gain = bfloat16_gain()
    if not args.variants and gain < 1:
        half = [name for name in names if VARIANTS[name].precision != "float32"]
        reason = f"a product of bfloat16 matrices takes {1 / gain:.1f} times as long as one of float32 here; "
        failures |= dict.fromkeys(half, reason + "name it in --variants to measure it all the same")
        names = [name for name in names if name not in half]
    # No promise compares the two halves, and all networks of both at once fill a laptop's memory.
    with_critic = [name for name in names if VARIANTS[name].nets != THREE]
    without = [name for name in names if VARIANTS[name].nets == THREE]
    with tempfile.TemporaryDirectory() as folder:
        write_job(Path(folder), SIZES[size])
        for company in (with_critic, without):
            take_turns(company, size, Path(folder), args, samples, failures)
    return samples, failures


def take_turns(
    names: list[str], size: str, job: Path, args: Args, samples: ByVariant, failures: dict[str, str]
) -> None:
    """Adds the turns of some variants to `samples`, or to `failures` why there are none."""
    workers = start(names, job, args.logs / size, max(args.threads), failures)
    try:
        for round_, name in progress(size, (args.iterations or ITERATIONS[size]) + 1, workers):
            try:
                turns = {str(threads): workers[name].turn(threads) for threads in args.threads}
                for turn in turns.values():
                    if "positions" in turn and (lack := left_out(turn["positions"], SIZES[size])):
                        raise WorkerError(lack)
            except WorkerError as failure:
                failures[name] = str(failure)
                workers.pop(name).close()
                samples.pop(name, None)
                continue
            if round_ > 0:
                for threads, turn in turns.items():
                    samples.setdefault(name, {}).setdefault(threads, []).append(turn)
    finally:
        for worker in workers.values():
            worker.close()


def progress(size: str, rounds: int, workers: dict[str, Worker]) -> Iterator[tuple[int, str]]:
    """Round by round, who has a turn, with a bar on the terminal."""
    with Progress(transient=True) as bar:
        task = bar.add_task(size, total=rounds * len(workers))
        for round_ in range(rounds):
            for name in list(workers):
                bar.update(task, advance=1, description=f"{size}, round {round_}: {name}")
                most = VARIANTS[name].most_rounds
                if name in workers and (most is None or round_ < most):
                    yield round_, name


def start(names: list[str], job: Path, logs: Path, threads: int, failures: dict[str, str]) -> dict[str, Worker]:
    """The processes of the variants, all of them ready; those that did not come up go into `failures`."""
    logs.mkdir(parents=True, exist_ok=True)
    starting: dict[str, Worker] = {}
    for name in names:
        variant = VARIANTS[name]
        python = Path(sys.executable) if not variant.venv else BENCHMARKS.parent / variant.venv / "bin" / "python"
        if not python.exists():
            failures[name] = f"there is no {python}; run `make bench-env`"
            continue
        starting[name] = Worker(
            [str(python), "-m", f"iteration.{variant.module}", str(job), *variant.arguments],
            environment=variant.environment,
            threads=threads,
            log=logs / f"{name.replace(' ', '_')}.log",
        )
    ready = {}
    for name, worker in starting.items():
        try:
            worker.wait_until_ready()
            ready[name] = worker
        except WorkerError as failure:
            failures[name] = str(failure)
            worker.close()
    return ready


def bfloat16_gain() -> float:
    """How much faster this processor multiplies matrices of bfloat16 than of float32, with one thread."""
    threads, best = torch.get_num_threads(), {}
    torch.set_num_threads(1)
    for dtype in (torch.float32, torch.bfloat16):
        left, right = torch.rand(2, 512, 512).to(dtype)
        seconds = []
        for _ in range(20):
            start = time.process_time()
            torch.mm(left, right)
            seconds.append(time.process_time() - start)
        best[dtype] = min(seconds)
    torch.set_num_threads(threads)
    return best[torch.float32] / best[torch.bfloat16]


def machine() -> dict[str, Any]:
    """What the figures depend on beside the code."""
    return {
        "processor": torch.cpu.get_capabilities().get("cpu_name"),
        "bfloat16 gain": bfloat16_gain(),
        "processors": os.cpu_count(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "stable-baselines3")},
        "load at the end": os.getloadavg()[0],
    }


if __name__ == "__main__":
    arguments = tyro.cli(Args, description=__doc__)
    for option, names in (("sizes", SIZES), ("variants", VARIANTS)):
        if unknown := set(getattr(arguments, option)) - set(names):
            sys.exit(f"--{option}: there is no {min(unknown)!r}; there are {', '.join(names)}")
    main(arguments)
