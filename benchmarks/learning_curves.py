"""How fast each algorithm closes the gap to the exact optimum of a small world; writes curves.json and curves.png.

The world has 8 tokens, completions of up to 5 and four prompts; the reference is a random model, a nat of KL costs 0.1.
0 is the reference and 1 the optimum, both exact. The x axis counts completions that were sampled and scored, compared
or (for SFT) demonstrated; for best-of-n it is n. Prints a table with 95 % intervals of the mean over the seeds
(Student's t), which are also the bands of the figure. About four minutes of CPU a seed, with OMP_NUM_THREADS=1.
"""

import json
import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from textrl_env import KLShaping, TextGenVectorEnv
from textrl_env.agents import A2C, GRPO, PPO, REINFORCE, RLOO, ActorCriticLM, DrGRPO, RejectionSampling, small_llama
from textrl_env.agents.offline import DPOConfig, KTOConfig, SFTConfig, train_dpo, train_kto, train_sft
from textrl_env.agents.rollouts import sample_completions
from textrl_env.oracle import prefix_logprobs, solve
from textrl_env.reference import FrozenReference
from textrl_env.worlds import EnumerableWorld, OptimumGap

WORLD = EnumerableWorld(vocab_size=8, horizon=5, n_prompts=4)
COEF = 0.1
N_EPISODES, N_UPDATES, EVERY = 128, 80, 10

ON_POLICY: dict[str, tuple[Any, dict[str, Any]]] = {
    "PPO": (PPO, {"batch_size": 64, "gae_lambda": 1.0}),
    # Without a clipped ratio a high learning rate settles on a good completion before the best one is found.
    "A2C": (A2C, {"peak": 5e-4}),
    "REINFORCE": (REINFORCE, {"peak": 5e-4}),
    "RLOO": (RLOO, {"peak": 5e-4}),
    "GRPO": (GRPO, {"batch_size": 64}),
    "Dr. GRPO": (DrGRPO, {"batch_size": 64}),
    "rejection sampling": (RejectionSampling, {"batch_size": 64, "group_size": 4, "n_epochs": 1}),
}
PREFERENCES = {"DPO": "sigmoid", "IPO": "ipo"}
OFFLINE_SIZES = (256, 1024, 4096, 16384)
BEST_OF = (1, 2, 4, 8, 16, 32, 64, 128, 256)
NAMES = (*ON_POLICY, *PREFERENCES, "KTO", "SFT", "best-of-n")

Curve = list[tuple[int, float]]


@dataclass(frozen=True)
class Args:
    """What to measure."""

    names: tuple[str, ...] = NAMES
    """Algorithms, of those in the figure."""
    seeds: int = 5
    """Runs of each; at least 2."""
    workers: int = 1
    """Processes, a run each."""
    out: Path = Path("docs/algorithms")
    """Where curves.json and curves.png go."""


def reference_model() -> Any:
    """The random policy that every run starts from and is held to."""
    return small_llama(WORLD.tokenizer, hidden_size=64, context=8)


@cache
def gap() -> OptimumGap:
    """The exact objectives, once a process."""
    return OptimumGap(WORLD, reference_model(), coef=COEF)


def on_policy(name: str, seed: int) -> Iterator[tuple[int, float]]:
    """Completions sampled so far and the fraction of the gap that is closed."""
    make, defaults = ON_POLICY[name]
    options = dict(defaults)
    peak = options.pop("peak", 1e-3)
    model = reference_model()
    reference = FrozenReference(model, vocab_size=WORLD.vocab_size)
    env = TextGenVectorEnv(
        WORLD.prompts,
        WORLD.reward,
        WORLD.tokenizer,
        num_envs=N_EPISODES,
        autoreset_mode="Disabled",
        max_new_tokens=WORLD.horizon,
        kl=KLShaping(COEF, "sampled", pay="episode"),
        reference=reference,
    )
    agent = ActorCriticLM(model, vocab_size=WORLD.vocab_size, critic="separate" if make.needs_critic else "none")
    algorithm = make(agent, env, learning_rate=peak, n_episodes=N_EPISODES, seed=seed, **options)
    yield 0, gap().measure(model).fraction
    for n_done in range(0, N_UPDATES, EVERY):
        # Falls linearly, in steps.
        algorithm.learning_rate = peak * (1 - n_done / N_UPDATES)
        algorithm.learn(total_updates=EVERY)
        yield (n_done + EVERY) * N_EPISODES, gap().measure(model).fraction


def offline(name: str, seed: int) -> Iterator[tuple[int, float]]:
    """Completions in the data and the fraction of the gap that training on them closes, each from the reference."""
    reference = reference_model()
    yield 0, gap().measure(reference).fraction
    for size in OFFLINE_SIZES:
        model = reference_model()
        if name == "SFT":
            train_sft(model, WORLD.tokenizer, demonstrations(size, seed), SFTConfig(learning_rate=3e-3), seed=seed)
        else:
            pairs = preferences(reference, size, seed)
            steps: dict[str, Any] = {"n_steps": 300, "learning_rate": 1e-3, "max_new_tokens": WORLD.horizon}
            if name == "KTO":
                rows = [
                    {"prompt": pair["prompt"], "completion": pair[side], "label": side == "chosen"}
                    for pair in pairs
                    for side in ("chosen", "rejected")
                ]
                train_kto(model, WORLD.tokenizer, rows, KTOConfig(beta=COEF, batch_size=64, **steps), seed=seed)
            else:
                loss: Any = PREFERENCES[name]
                config = DPOConfig(beta=COEF, batch_size=32, loss=loss, **steps)
                train_dpo(model, WORLD.tokenizer, pairs, config, seed=seed)
        yield size, gap().measure(model).fraction


def preferences(reference: Any, size: int, seed: int) -> list[dict[str, str]]:
    """Pairs of the reference's completions, each compared once by a rater who follows Bradley-Terry on the score."""
    rng = np.random.default_rng(seed)
    n_prompts = len(WORLD.prompts)
    samples = sample_completions(
        reference, WORLD.tokenizer, WORLD.prompts, max_new_tokens=WORLD.horizon, n=size // n_prompts, seed=seed
    )
    rows = []
    for prompt, group in zip(WORLD.prompts, samples, strict=True):
        texts = [completion.text for completion in group]
        for first_text, second_text in zip(texts[::2], texts[1::2], strict=True):
            first, second = WORLD.reward([prompt] * 2, [first_text, second_text])
            first_wins = rng.random() < 1 / (1 + np.exp(second - first))
            chosen, rejected = (first_text, second_text) if first_wins else (second_text, first_text)
            rows.append({"prompt": prompt, "chosen": chosen, "rejected": rejected})
    return rows


def demonstrations(size: int, seed: int) -> list[dict[str, str]]:
    """Completions of the optimal policy."""
    rng, tokenizer, rows = np.random.default_rng(seed), WORLD.tokenizer, []
    for prompt in WORLD.prompts:
        probability, _, completions = enumerate_completions(prompt, optimal=True)
        for index in rng.choice(len(completions), size=size // len(WORLD.prompts), p=probability / probability.sum()):
            text = tokenizer.decode(completions[index], skip_special_tokens=True)
            rows.append({"prompt": prompt, "completion": text})
    return rows


def enumerate_completions(prompt: str, *, optimal: bool) -> tuple[Any, Any, list[list[int]]]:
    """Probabilities (of the reference or of the optimum), scores and token ids of all completions of a prompt."""
    tree = WORLD.tree(prompt)
    ids = np.array(WORLD.tokenizer.encode(prompt))
    log_policy: Any = prefix_logprobs(reference_model(), ids, tree, vocab_size=WORLD.vocab_size)
    if optimal:
        log_policy = solve(tree, log_policy, coef=COEF).log_policy
    reach, probabilities, scores, completions = np.ones(1), [], [], list[list[int]]()
    for prefixes, ends, rewards, logprobs in zip(tree.prefixes, tree.ends, tree.scores, log_policy, strict=True):
        here = reach[:, None] * np.exp(logprobs)
        probabilities.append(here[ends])
        scores.append(rewards[ends])
        completions += [[*prefixes[row], token] for row, token in zip(*np.nonzero(ends), strict=True)]
        reach = here[~ends]
    return np.concatenate(probabilities), np.concatenate(scores), completions


def best_of_n() -> Curve:
    """n, and the exact fraction of the gap that the best of n completions of the reference closes."""
    totals = np.zeros(len(BEST_OF))
    for prompt in WORLD.prompts:
        probability, score, _ = enumerate_completions(prompt, optimal=False)
        values, of = np.unique(score.round(9), return_inverse=True)
        share = np.bincount(of, weights=probability)
        up_to = np.cumsum(share)
        for place, n in enumerate(BEST_OF):
            best = up_to**n - (up_to - share) ** n
            possible = best > 0
            kl = (best[possible] * np.log(best[possible] / share[possible])).sum()
            totals[place] += ((best * values).sum() - COEF * kl) / len(WORLD.prompts)
    return [
        (n, (total - gap().reference) / (gap().best - gap().reference))
        for n, total in zip(BEST_OF, totals, strict=True)
    ]


def measure_curve(job: tuple[str, int]) -> Curve:
    """The curve of one algorithm and seed."""
    name, seed = job
    torch.set_num_threads(1)
    if name == "best-of-n":
        return [(n, float(fraction)) for n, fraction in best_of_n()]
    curve = list(on_policy(name, seed) if name in ON_POLICY else offline(name, seed))
    print(f"{name:<20} seed {seed}: {curve[-1][1]:+.3f} after {curve[-1][0]} completions", flush=True)
    return curve


def main(args: Args) -> dict[str, Any]:
    """Measures, writes curves.json and curves.png; returns what is in the former."""
    jobs = [(name, seed) for seed in range(args.seeds) for name in args.names]
    with ProcessPoolExecutor(args.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        results = list(zip(jobs, pool.map(measure_curve, jobs), strict=True))
    curves = {}
    for name in args.names:
        runs = [curve for (curve_name, _), curve in results if curve_name == name]
        fractions = [[fraction for _, fraction in curve] for curve in runs]
        curves[name] = {"completions": [count for count, _ in runs[0]], "fractions": fractions}
    result = {"coef": COEF, "seeds": args.seeds, "curves": curves}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "curves.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    Console().print(table(curves))
    draw(curves, args.out / "curves.png")
    return result


def half_width(runs: Any) -> Any:
    """Of the 95 % interval of the mean: (seeds, ...) -> (...)."""
    from scipy import stats  # Not needed for --help.

    return stats.t.ppf(0.975, len(runs) - 1) * stats.sem(runs)


def table(curves: dict[str, Any]) -> Table:
    """A row an algorithm: what is closed at the end, and completions until the mean has closed half."""
    summary = Table("algorithm", "share of the gap at the end", "lowest seed", "half of the gap after, completions")
    for name, curve in curves.items():
        runs = np.array(curve["fractions"])
        half = np.flatnonzero(runs.mean(axis=0) >= 0.5)
        summary.add_row(
            name,
            f"{runs[:, -1].mean():.3f} ± {half_width(runs[:, -1]):.3f}",
            f"{runs[:, -1].min():.3f}",
            f"{curve['completions'][half[0]]:,}" if len(half) else "never",
        )
    return summary


def draw(curves: dict[str, Any], path: Path) -> None:
    """A panel an algorithm: mean over the seeds, and its 95 % interval."""
    rows = -(-len(curves) // 4)
    figure, panels = plt.subplots(rows, 4, figsize=(12, 2.6 * rows), sharey=True, squeeze=False, layout="constrained")
    for panel, (name, curve) in zip(panels.flat, curves.items(), strict=False):
        x, runs = np.array(curve["completions"]), np.array(curve["fractions"])
        panel.axhline(1, color="#66707c", linewidth=0.8, linestyle=":")
        panel.axhline(0, color="#66707c", linewidth=0.8)
        mean, half = runs.mean(axis=0), half_width(runs)
        panel.fill_between(x, mean - half, mean + half, color="#0b6cb0", alpha=0.25, linewidth=0)
        panel.plot(x, mean, color="#0b6cb0", marker=None if name in ON_POLICY else "o", markersize=4)
        panel.set_title(f"{name}: {mean[-1]:.2f}", fontsize=11)
        panel.set_ylim(-0.3, 1.08)
        if name == "best-of-n":
            panel.set_xscale("log", base=2)
            panel.set_xlabel("n")
        elif name not in ON_POLICY:
            panel.set_xscale("symlog", linthresh=OFFLINE_SIZES[0], base=4)
            panel.set_xlim(left=0)
            panel.set_xticks([0, *OFFLINE_SIZES], ["0", *map(str, OFFLINE_SIZES)], fontsize=8)
    for panel in panels.flat[len(curves) :]:
        panel.set_axis_off()
    figure.supxlabel("completions")
    figure.supylabel("share of the gap to the optimum")
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    arguments = tyro.cli(Args, description=__doc__)
    if arguments.seeds < 2:
        sys.exit(f"--seeds: an interval needs 2 at least, got {arguments.seeds}")
    main(arguments)
