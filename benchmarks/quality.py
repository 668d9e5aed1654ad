"""How much of the gap to the exact optimum PPO closes by a number of completions, over many seeds: ours and others'.

The world of `learning_curves.py`: 8 tokens, completions of up to 5, four prompts, a random reference, 0.1 a nat. One
run a seed, whose learning rate falls linearly to 0 at its end; 0 is the reference and 1 the optimum, both exact, and
every library's policy is measured by the same program. Prints a table with 95 % intervals of the mean (Student's t),
the lowest seed and processor seconds, then what was promised, and writes JSON, in which variants that are not measured
now stay. TRL needs `make bench-env`. CPU a run: half a minute for ours, one to two minutes for the others.

    python benchmarks/quality.py --seeds 10
"""

import json
import multiprocessing
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from iteration.workers import BENCHMARKS, offline
from learning_curves import COEF, WORLD, gap, reference_model
from rich.console import Console
from rich.table import Table
from small_world import bars
from small_world.files import Setting, write_files
from small_world.ours import Measurement, ours
from small_world.sb3 import sb3
from transformers import AutoModelForCausalLM

from textrl_env.lm import load_model

SETTING = Setting(
    letters=WORLD.tokenizer.decode(list(range(1, WORLD.vocab_size))),
    horizon=WORLD.horizon,
    coef=COEF,
    n_episodes=128,
    batch_size=64,
    n_epochs=4,
    gae_lambda=1.0,
    learning_rate=1e-3,
    marks=(2048, 4096, 8192, 16384),
)
TRL_PYTHON = BENCHMARKS.parent / ".venv-bench" / "bin" / "python"


def trl(setting: Setting, seed: int) -> Measurement:
    """TRL's PPOTrainer in its own interpreter; its policies come back as folders and are measured here."""
    if not TRL_PYTHON.exists():
        sys.exit(f"there is no {TRL_PYTHON}; run `make bench-env`")
    with tempfile.TemporaryDirectory() as folder:
        files, out = Path(folder, "world"), Path(folder, "out")
        write_files(files, setting, reference_model(), WORLD.prompts, WORLD.reward)
        command = [str(TRL_PYTHON), "-m", "small_world.trl_ppo", str(files), str(out), "--seed", str(seed)]
        subprocess.run(command, cwd=BENCHMARKS, env=offline(threads=1), stdout=subprocess.DEVNULL, check=True)
        policies = [load_model(AutoModelForCausalLM, out / str(mark)) for mark in setting.marks]
        return [gap().measure(policy).fraction for policy in policies], json.loads((out / "seconds.json").read_text())


VARIANTS: dict[str, Callable[[Setting, int], Measurement]] = {
    "ours": partial(ours, critic="separate"),
    # Policy and critic would be clipped as one gradient; Adam bounds the steps by itself.
    "ours, shared trunk": partial(ours, critic="shared", max_grad_norm=float("inf"), adam_eps=1e-8),
    "trl": trl,
    "sb3": sb3,
}


@dataclass(frozen=True)
class Args:
    """What to measure."""

    variants: tuple[str, ...] = tuple(VARIANTS)
    """Rows of the table to measure now."""
    seeds: int = 10
    """Runs of each; at least 2."""
    first_seed: int = 300
    """The first run's seed; none of these was used to choose a setting."""
    workers: int = 1
    """Processes, a run each."""
    out: Path = Path("benchmarks/results/quality.json")
    """The measurements; those of other variants there are kept."""


def run(job: tuple[str, int]) -> dict[str, Any]:
    """One variant and seed."""
    variant, seed = job
    torch.set_num_threads(1)
    fractions, seconds = VARIANTS[variant](SETTING, seed)
    print(f"{variant:<20} seed {seed}: {np.round(fractions, 3).tolist()}, {seconds[-1]:.0f} CPU seconds", flush=True)
    return {"variant": variant, "seed": seed, "fractions": fractions, "cpu_seconds": seconds}


def main(args: Args) -> list[dict[str, Any]]:
    """Measures, prints and writes; returns all runs that are in the file then."""
    runs = json.loads(args.out.read_text(encoding="utf-8"))["runs"] if args.out.exists() else []
    runs = [entry for entry in runs if entry["variant"] not in args.variants]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    jobs = [(variant, args.first_seed + index) for index in range(args.seeds) for variant in args.variants]
    with ProcessPoolExecutor(args.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for result in pool.map(run, jobs):
            runs.append(result)
            args.out.write_text(json.dumps({"marks": SETTING.marks, "runs": runs}, indent=1) + "\n", encoding="utf-8")
    verdicts = bars.judge(runs, SETTING.marks)
    args.out.write_text(
        json.dumps({"marks": SETTING.marks, "runs": runs, "bars": [asdict(bar) for bar in verdicts]}, indent=1) + "\n",
        encoding="utf-8",
    )
    Console().print(table(runs), bars.table(verdicts))
    return runs


def table(runs: list[dict[str, Any]]) -> Table:
    """A row a variant."""
    from scipy import stats  # Not needed for --help.

    quality_table = Table("variant", "seeds", *(f"{mark:,} completions" for mark in SETTING.marks), "CPU seconds")
    for variant in VARIANTS:
        group = [entry for entry in runs if entry["variant"] == variant]
        if len(group) < 2:
            continue
        fractions = np.array([entry["fractions"] for entry in group])
        half = stats.t.ppf(0.975, len(group) - 1) * stats.sem(fractions)
        cells = [
            f"{mean:.3f} ± {width:.3f}, lowest {low:.3f}"
            for mean, width, low in zip(fractions.mean(axis=0), half, fractions.min(axis=0), strict=True)
        ]
        seconds = np.median([entry["cpu_seconds"] for entry in group], axis=0)
        quality_table.add_row(variant, str(len(group)), *cells, " / ".join(f"{value:.0f}" for value in seconds))
    return quality_table


if __name__ == "__main__":
    arguments = tyro.cli(Args, description=__doc__)
    if unknown := set(arguments.variants) - set(VARIANTS):
        sys.exit(f"--variants: there is no {min(unknown)!r}; there are {', '.join(VARIANTS)}")
    main(arguments)
