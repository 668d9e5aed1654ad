"""Few labels of one kind of prompts: what does it cost them, and does it help to weigh or repeat those labels?

Customers of the support desk who ask for what must be refused are rare among the labels: 3 in 100. You will see, for
reward models trained on these labels as they are, with weights, with a balanced sample, and on as many labels of which
half are of such prompts: how many held-out pairs each orders as the gold reward does, and the gold score of the best of
16 replies in its judgement; for harmful and for harmless requests. With `--n-updates` also that of a policy after PPO.

Takes about 10 minutes for 5 seeds on one CPU core; `--seeds 0` runs one of them.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from textrl_env.agents import SFTConfig, sample_completions
from textrl_env.lm import load_model, load_tokenizer
from textrl_env.pipeline import PPOOptions, RewardModelOptions, SFTOptions, run_ppo, run_reward_model, run_sft
from textrl_env.pipeline.runs import read_json, write_json
from textrl_env.reward_models import RewardModel, RewardModelConfig, preferences_of, write_preferences
from textrl_env.reward_models.feedback.simulated_raters import collect_judgements, make_workers
from textrl_env.reward_models.measuring import accuracy, score_pairs
from textrl_env.reward_models.slices import balanced_rows, balancing_weights, slices_of
from textrl_env.stats import student_interval
from textrl_env.worlds import support_desk

Rows = list[dict[str, Any]]
LABELS = ("as they are", "weighted", "resampled", "even")
SLICES = {"harmless": False, "harmful": True}


@dataclass(frozen=True)
class Args:
    """Options of the example."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """One whole run each, of everything random."""
    n_labels: int = 600
    """Prompts that are judged, four demonstrations each."""
    rare: float = 0.03
    """Share of them that are harmful."""
    cap: float = 20.0
    """Most that a label's weight, or number of copies, is increased."""
    sft_steps: int = 300
    """Steps of supervised fine-tuning."""
    n_updates: int = 0
    """Updates of PPO on each reward model; 0 leaves it out."""
    n_evaluated: int = 150
    """Held-out prompts per slice."""
    out: Path = Path("runs/slice_bias")
    """Models go to OUT/SEED/LABELS, figures to OUT/SEED/figures.json and OUT/summary.json."""
    threads: int = 1
    """CPU threads of torch."""


def main(args: Args) -> dict[str, Any]:
    """Runs all seeds but those that have figures in OUT already; returns what is in OUT/summary.json."""
    torch.set_num_threads(args.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    runs = []
    for seed in args.seeds:
        figures = args.out / str(seed) / "figures.json"
        if not figures.is_file():
            write_json(figures, run_seed(args, seed))
        runs.append(read_json(figures))
    summary = summarise(runs)
    write_json(args.out / "summary.json", summary)
    return summary


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Prints means over the results of `run_seed`, and what is gained over the labels as they are; returns them."""
    summary: dict[str, Any] = {"runs": runs}
    table = Table("", *LABELS)
    kinds = {"accuracy": "accuracy", "best": "gold, best of 16", "policy": "gold, policy"}
    for kind, name in ((kind, name) for kind in kinds for name in SLICES if f"{LABELS[0]} {kind} {name}" in runs[0]):
        cells = []
        for label in LABELS:
            values = np.array([run[f"{label} {kind} {name}"] for run in runs])
            gains = values - [run[f"{LABELS[0]} {kind} {name}"] for run in runs]
            figures = {"mean": float(values.mean()), "gain": float(gains.mean())}
            cells.append(f"{figures['mean']:.3f}")
            if len(runs) > 1:
                figures["low"], figures["high"] = student_interval(values)
                figures["gain_low"], figures["gain_high"] = low, high = student_interval(gains)
                cells[-1] += f"\n{figures['gain']:+.3f}\n({low:+.3f} to {high:+.3f})" if label != LABELS[0] else ""
            summary[f"{label} {kind} {name}"] = figures
        table.add_row(f"{kinds[kind]}\n{name}", *cells)
    Console().print(table)
    return summary


def run_seed(args: Args, seed: int) -> dict[str, Any]:
    """SFT, labels, then a reward model for each way to treat them, its best of 16 and its policy."""
    started, run_dir, rng = time.process_time(), args.out / str(seed), np.random.default_rng(seed)
    run_sft(SFTOptions(training=SFTConfig(n_steps=args.sft_steps)), run_dir, seed)
    skewed = rank_demonstrations(args.n_labels, args.rare, "train", rng)
    slices = slices_of(skewed, "harmful")
    weights = balancing_weights(slices, cap=args.cap)
    labels = {
        "as they are": skewed,
        "weighted": [{**row, "weight": weight} for row, weight in zip(skewed, weights.tolist(), strict=True)],
        "resampled": balanced_rows(skewed, slices, cap=args.cap, rng=rng),
        "even": rank_demonstrations(args.n_labels, 0.5, "train", rng),
    }
    heldout = rank_demonstrations(2 * args.n_evaluated, 0.5, "heldout", rng, noise=1e-3)
    write_preferences(run_dir / "heldout.jsonl", heldout)
    prompts = {
        name: [row["prompt"] for row in heldout if row["harmful"] is harmful] for name, harmful in SLICES.items()
    }
    samples = {
        name: sample_replies(run_dir / "sft", slice_prompts, 16, seed) for name, slice_prompts in prompts.items()
    }
    result: dict[str, Any] = {"seed": seed}
    for name, slice_prompts in prompts.items():
        first_replies = [texts[0] for texts in samples[name]]
        result[f"sft {name}"] = float(np.mean(support_desk.gold_reward(slice_prompts, first_replies)))
    for label, rows in labels.items():
        folder = run_dir / label.replace(" ", "_")
        options = RewardModelOptions(
            preferences=write_preferences(folder / "labels.jsonl", rows),
            heldout=run_dir / "heldout.jsonl",
            model=run_dir / "sft",
            training=RewardModelConfig(n_epochs=3),
        )
        run_reward_model(options, folder, seed)
        judge = RewardModel.from_trained(folder / "reward_model")
        if args.n_updates:
            run_ppo(PPOOptions(policy=run_dir / "sft", n_updates=args.n_updates), folder, seed)
        for name, harmful in SLICES.items():
            preferences = preferences_of(row for row in heldout if row["harmful"] is harmful)
            result[f"{label} accuracy {name}"] = accuracy(score_pairs(judge, preferences))
            result[f"{label} best {name}"] = best_of(judge, prompts[name], samples[name])
            if args.n_updates:
                policy_replies = sample_replies(folder / "policy", prompts[name], 1, seed)
                golds = support_desk.gold_reward(prompts[name], [texts[0] for texts in policy_replies])
                result[f"{label} policy {name}"] = float(np.mean(golds))
    result["cpu_seconds"] = round(time.process_time() - started, 1)
    Console().print(result)
    return result


def rank_demonstrations(
    n: int, harmful: float, split: support_desk.Split, rng: np.random.Generator, *, noise: float = 0.1
) -> Rows:
    """Ranks, by an honest rater, four demonstrations each of n prompts, a share of them harmful."""
    candidates = support_desk.prompts(
        20 * n if split == "train" else 11_000, seed=int(rng.integers(2**31)), split=split
    )
    n_harmful = round(harmful * n)
    rows = [row for row in candidates if row["harmful"]][:n_harmful]
    rows += [row for row in candidates if not row["harmful"]][: n - n_harmful]
    prompts = [row["prompt"] for row in rows]
    texts = [[support_desk.demonstration(prompt, rng) for _ in range(4)] for prompt in prompts]
    workers = make_workers(1, 0, 0, noise=noise)
    attributes = {row["prompt"]: row for row in rows}
    ranked = collect_judgements(workers, prompts, texts, support_desk.gold_reward, overlap=1, rng=rng)
    return [row | attributes[row["prompt"]] for row in ranked]


def sample_replies(policy: Path, prompts: list[str], n: int, seed: int) -> list[list[str]]:
    """Samples n replies to each prompt."""
    model, tokenizer = load_model(AutoModelForCausalLM, policy), load_tokenizer(policy)
    samples = sample_completions(model, tokenizer, prompts, max_new_tokens=49, n=n, seed=seed)
    return [[completion.text for completion in row] for row in samples]


def best_of(judge: RewardModel, prompts: list[str], samples: list[list[str]]) -> float:
    """Computes the mean gold score of the reply to each prompt that the reward model scores best."""
    repeated = [prompt for prompt, texts in zip(prompts, samples, strict=True) for _ in texts]
    flat = [text for texts in samples for text in texts]
    scores = judge.score(repeated, flat).reshape(len(prompts), -1)
    gold = np.array(support_desk.gold_reward(repeated, flat)).reshape(len(prompts), -1)
    return float(gold[np.arange(len(gold)), scores.argmax(axis=1)].mean())


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
