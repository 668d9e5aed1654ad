"""Where the time of one PPO iteration goes: matrix products, activation, attention, copies, the rest.

The job of `ppo_iteration.py` with ours alone, one thread, watched by PyTorch's profiler. Each operation's own time
counts under its kind; what is left of the iteration is Python and small operations. Matrix products stand beside the
fastest one that this machine does. The profiler knows wall time only: run it on a quiet core. Prints a table and writes
JSON.

    python benchmarks/ppo_profile.py --sizes S
"""

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from iteration.job import SIZES, Job, write_job
from iteration.ours import ppo
from iteration.turns import Stopwatch
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

KINDS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm"),
    "activation": ("aten::gelu", "aten::gelu_backward"),
    "attention": (
        "aten::_scaled_dot_product_flash_attention_for_cpu",
        "aten::_scaled_dot_product_flash_attention_for_cpu_backward",
    ),
    "copies": (
        "aten::copy_",
        "aten::fill_",
        "aten::cat",
        "aten::index",
        "aten::index_copy",
        "aten::index_select",
        "aten::_index_put_impl_",
    ),
    "softmax and norms": (
        "aten::_log_softmax",
        "aten::_log_softmax_backward_data",
        "aten::native_layer_norm",
        "aten::native_layer_norm_backward",
    ),
}
REST = "Python, the optimizer, small operations"


@dataclass(frozen=True)
class Args:
    """Options of the profile."""

    sizes: tuple[str, ...] = ("XS", "S")
    """Of the networks; see ppo_iteration.py."""
    out: Path = Path(__file__).parent / "results" / "ppo_profile.json"
    """The measurements."""


def measure(size: str) -> dict[str, Any]:
    """Seconds of an iteration by kind of work, and GFLOP/s of its matrix products and of the fastest one."""
    with tempfile.TemporaryDirectory() as folder:
        write_job(Path(folder), SIZES[size])
        algorithm = ppo(Job(Path(folder)), Stopwatch())
    algorithm.learn(total_updates=1)
    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as profiler:
        start = time.perf_counter()
        algorithm.learn(total_updates=1)
        whole = time.perf_counter() - start
    averages = {event.key: event for event in profiler.key_averages()}
    seconds = {
        kind: sum(averages[name].self_cpu_time_total for name in names if name in averages) / 1e6
        for kind, names in KINDS.items()
    }
    flops = sum(averages[name].flops for name in KINDS["matrix products"] if name in averages)
    return {
        "seconds": whole,
        "by kind": seconds | {REST: whole - sum(seconds.values())},
        "GFLOP/s": flops / seconds["matrix products"] / 1e9,
        "peak GFLOP/s": peak(),
    }


def peak() -> float:
    """GFLOP/s of the best of 20 products of two square float32 matrices of width 1024."""
    left, right = torch.rand(2, 1024, 1024)
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - start)
    return 2 * 1024**3 / best / 1e9


def main(args: Args) -> dict[str, dict[str, Any]]:
    """Measures, prints, writes; returns the figures by size."""
    torch.set_num_threads(1)
    result = {size: measure(size) for size in args.sizes}
    table = Table("size", "", "s", "share", title="one PPO iteration, four networks, float32", title_justify="left")
    for size, figures in result.items():
        for kind, seconds in figures["by kind"].items():
            table.add_row(size, kind, f"{seconds:.2f}", f"{seconds / figures['seconds']:.0%}")
        share = figures["GFLOP/s"] / figures["peak GFLOP/s"]
        table.add_row(
            size, f"whole; its matrix products run at {share:.0%} of the peak", f"{figures['seconds']:.2f}", ""
        )
    Console().print(table)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    return result


if __name__ == "__main__":
    arguments = tyro.cli(Args, description=__doc__)
    if unknown := set(arguments.sizes) - set(SIZES):
        sys.exit(f"--sizes: there is no {min(unknown)!r}; there are {', '.join(SIZES)}")
    main(arguments)
