"""The algorithms on the support desk at equal KL and equal budget: gold score against nats spent.

Per seed all share one SFT model, one reward model made of ranked completions, and the held-out prompts. Every entrant
may generate, and have scored by the reward model, the same number of completions; trainers spend them once for each KL
coefficient, and each gives a point. Gold is what nobody is shown. Prints gold at equal KL (interpolated, 95 % intervals
over seeds), draws the figure, and writes JSON, to which further seeds and entrants are added.

    OMP_NUM_THREADS=1 python benchmarks/tournament.py --seeds 5
"""

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from desk.compare import at_kl, interval
from desk.entrants import ENTRANTS
from desk.figure import draw
from desk.lab import Lab, as_row
from rich.console import Console
from rich.table import Table
from transformers.utils import logging

from textrl_env.pipeline import (
    PreferencesOptions,
    RewardModelOptions,
    SFTOptions,
    run_preferences,
    run_reward_model,
    run_sft,
)

GRID = (0.5, 1.0, 2.0, 4.0, 6.0)


@dataclass(frozen=True)
class Args:
    """The tournament."""

    entrants: tuple[str, ...] = tuple(ENTRANTS)
    """Who takes part now; SFT, where all start, must be there or in `out`."""
    seeds: int = 5
    """Seeds to run now."""
    first_seed: int = 200
    """The first of them."""
    budget: int = 2560
    """Completions that an entrant generates and has scored, for each of its points; a multiple of 64."""
    coefs: tuple[float, ...] = (0.4, 0.1)
    """KL coefficients of the trainers."""
    n_rankings: int = 1500
    """Rankings of four completions behind the reward model."""
    n_heldout: int = 256
    """Prompts that a policy is measured on."""
    out: Path = Path("benchmarks/results/tournament.json")
    """The points; what is measured again replaces what was there."""
    figure: Path = Path("docs/tournament.png")
    """The picture."""


def main(args: Args) -> list[dict[str, Any]]:
    """Runs, prints, draws and writes; returns all points that are in the file then."""
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    setting = {"budget": args.budget, "n_rankings": args.n_rankings, "n_heldout": args.n_heldout}
    rows = earlier_rows(args.out, setting)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        with tempfile.TemporaryDirectory() as folder:
            stages = (
                partial(run_sft, SFTOptions()),
                partial(run_preferences, PreferencesOptions(n_prompts=args.n_rankings)),
                partial(run_reward_model, RewardModelOptions()),
            )
            lab = Lab(Path(folder), seed, stages, n_heldout=args.n_heldout)
            for entrant in args.entrants:
                start = time.process_time()
                points = [as_row(entrant, seed, *point) for point in ENTRANTS[entrant](lab, args.coefs, args.budget)]
                rows = [row for row in rows if (row["entrant"], row["seed"]) != (entrant, seed)] + points
                args.out.write_text(json.dumps({**setting, "points": rows}, indent=1) + "\n", encoding="utf-8")
                summary = ", ".join(f"{row['gold']:.3f} at {row['kl']:.2f} nats" for row in points)
                seconds = time.process_time() - start
                print(f"seed {seed}, {entrant}: gold {summary} ({seconds:.0f} CPU seconds)", flush=True)
    Console().print(table(rows))
    draw(rows, args.figure)
    print(f"written: {args.out}, {args.figure}")
    return rows


def earlier_rows(path: Path, setting: dict[str, int]) -> list[dict[str, Any]]:
    """The points of an earlier run of the same setting."""
    if not path.exists():
        return []
    earlier = json.loads(path.read_text(encoding="utf-8"))
    points: list[dict[str, Any]] = earlier.pop("points")
    if earlier != setting:
        sys.exit(f"{path} is of another setting, {earlier}; give --out another file, or the same options")
    return points


def table(rows: list[dict[str, Any]]) -> Table:
    """Gold at equal KL, for the amounts that every seed of an entrant reaches."""
    summary = Table("entrant", "seeds", *(f"{kl:g} nats" for kl in GRID), "farthest", title="gold at equal KL")
    for entrant in (name for name in ENTRANTS if name != "SFT"):
        values = at_kl(rows, entrant, GRID)
        if len(values) < 2:
            continue
        pairs = zip(*interval(values), strict=True)
        cells = ["" if np.isnan(mean) else f"{mean:.3f} ± {half:.3f}" for mean, half in pairs]
        farthest = max(row["kl"] for row in rows if row["entrant"] == entrant)
        summary.add_row(entrant, str(len(values)), *cells, f"{farthest:.1f} nats")
    return summary


if __name__ == "__main__":
    arguments = tyro.cli(Args, description=__doc__)
    if unknown := set(arguments.entrants) - set(ENTRANTS):
        sys.exit(f"--entrants: there is no {min(unknown)!r}; there are {', '.join(ENTRANTS)}")
    main(arguments)
