"""How much of the gap to the exact optimum PPO closes by a number of completions, over many seeds.

The world of `learning_curves.py`: 8 tokens, completions of up to 5, four prompts, a random reference, 0.1 a nat. One
run a seed, whose learning rate falls linearly to 0 at its end; 0 is the reference and 1 the optimum, both exact. Prints
a table with 95 % intervals of the mean (Student's t) and the lowest seed, and writes JSON. Half a minute of CPU a run.

    python benchmarks/quality.py --seeds 10
"""

import json
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from learning_curves import COEF, WORLD, gap, reference_model
from rich.console import Console
from rich.table import Table

from textrl_env import KLShaping, TextGenVectorEnv
from textrl_env.agents import PPO, ActorCriticLM
from textrl_env.reference import FrozenReference

MARKS = (2048, 4096, 8192, 16384)
N_EPISODES, PEAK = 128, 1e-3
# Student's t, two-sided 95 %, for 2 to 10 runs.
T95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}


@dataclass(frozen=True)
class Args:
    """What to measure."""

    critics: tuple[str, ...] = ("separate", "shared")
    """Kinds of critic."""
    seeds: int = 10
    """Runs of each, 2 to 10."""
    first_seed: int = 100
    """The first run's seed; none of these was used to choose a setting."""
    workers: int = 1
    """Processes, a run each."""
    out: Path = Path("benchmarks/results/quality.json")
    """The measurements."""


def falling(first: int, last: int) -> Callable[[float], float]:
    """The rate from completion `first` to `last` of a whole run, by the remaining progress between the two."""
    return lambda remaining: PEAK * (1 - (last - (last - first) * remaining) / MARKS[-1])


def run(job: tuple[str, int]) -> dict[str, Any]:
    """Fractions at the marks, and the CPU seconds that training took until then."""
    critic, seed = job
    torch.set_num_threads(1)
    model = reference_model()
    reference = FrozenReference(model, vocab_size=WORLD.vocab_size)
    env = TextGenVectorEnv(
        WORLD.prompts, WORLD.reward, WORLD.tokenizer, num_envs=N_EPISODES, autoreset_mode="Disabled",
        max_new_tokens=WORLD.horizon, kl=KLShaping(COEF, "sampled", pay="episode"), reference=reference,
    )  # fmt: skip
    agent = ActorCriticLM(model, vocab_size=WORLD.vocab_size, critic=critic)  # type: ignore[arg-type]
    ppo = PPO(agent, env, n_episodes=N_EPISODES, batch_size=64, gae_lambda=1.0, seed=seed)
    fractions, seconds, spent = [], [], 0.0
    for before, mark in pairwise((0, *MARKS)):
        ppo.learning_rate = falling(before, mark)
        started = time.process_time()
        ppo.learn(total_updates=(mark - before) // N_EPISODES)
        spent += time.process_time() - started
        fractions.append(gap().of(model).fraction)
        seconds.append(spent)
    print(f"{critic:<9} seed {seed}: {np.round(fractions, 3).tolist()}, {spent:.0f} CPU seconds", flush=True)
    return {"critic": critic, "seed": seed, "fractions": fractions, "cpu_seconds": seconds}


def main(args: Args) -> list[dict[str, Any]]:
    """Measures, prints and writes."""
    jobs = [(critic, args.first_seed + index) for index in range(args.seeds) for critic in args.critics]
    with ProcessPoolExecutor(args.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        runs = list(pool.map(run, jobs))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"marks": MARKS, "runs": runs}, indent=1) + "\n", encoding="utf-8")
    table = Table("critic", *(f"{mark:,} completions" for mark in MARKS), "CPU seconds")
    for critic in args.critics:
        found = [each for each in runs if each["critic"] == critic]
        fractions = np.array([each["fractions"] for each in found])
        half = T95[len(found)] * fractions.std(axis=0, ddof=1) / len(found) ** 0.5
        cells = [
            f"{mean:.3f} ± {width:.3f}, lowest {low:.3f}"
            for mean, width, low in zip(fractions.mean(axis=0), half, fractions.min(axis=0), strict=True)
        ]
        table.add_row(critic, *cells, f"{np.median([each['cpu_seconds'][-1] for each in found]):.0f}")
    Console().print(table)
    return runs


if __name__ == "__main__":
    main(tyro.cli(Args))
