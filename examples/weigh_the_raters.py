"""Does it pay to weigh raters by how far they can be believed? From their answers to the gold score of the policy.

Half of twelve simulated raters are honest, a quarter answer without reading, a quarter say the opposite of what they
think; three of them rank four replies to each prompt. You will see how reliable Crowd-BT takes each rater to be, and,
for labels by majority and for labels that weigh the raters: how many pairs they order as the gold reward does, how many
the reward model does that is trained on them, the gold score of the best of 16 replies in its judgement, and that of
the policy that PPO trains on it.

Takes about 15 minutes for 5 seeds on one CPU core; `--seeds 0` runs one of them.
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
from textrl_env.pipeline import (
    EvaluationOptions,
    PPOOptions,
    RewardModelOptions,
    SFTOptions,
    run_evaluation,
    run_ppo,
    run_reward_model,
    run_sft,
)
from textrl_env.pipeline.runs import write_json
from textrl_env.reward_models import RewardModel, RewardModelConfig, write_preferences
from textrl_env.reward_models.feedback.raters import (
    fit_crowd_bt,
    label_by_majority,
    label_by_reliability,
    read_judgements,
    tally_votes,
)
from textrl_env.reward_models.feedback.simulated_raters import collect_judgements, make_workers
from textrl_env.stats import student_interval
from textrl_env.worlds import support_desk

Rows = list[dict[str, Any]]
LABELS = ("majority", "weighted")


@dataclass(frozen=True)
class Args:
    """Options of the example."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """One whole run each, of everything random."""
    honest: int = 6
    """Raters with a little noise."""
    careless: int = 3
    """Raters who answer without reading."""
    adversarial: int = 3
    """Raters who say the opposite."""
    overlap: int = 3
    """Raters per prompt."""
    n_prompts: int = 500
    """Prompts that are judged, four demonstrations each."""
    sft_steps: int = 300
    """Steps of supervised fine-tuning."""
    n_updates: int = 30
    """Updates of PPO."""
    n_evaluated: int = 300
    """Held-out prompts that the policies answer, and as many that judge the reward models."""
    n_chosen: int = 100
    """Held-out prompts with 16 replies to choose from."""
    out: Path = Path("runs/weigh_the_raters")
    """Models and figures go to OUT/SEED/LABELS, all figures to OUT/summary.json."""
    threads: int = 1
    """CPU threads of torch."""


def main(args: Args) -> dict[str, Any]:
    """Runs all seeds; returns what is in OUT/summary.json."""
    torch.set_num_threads(args.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    summary = over_seeds([one_seed(args, seed) for seed in args.seeds])
    write_json(args.out / "summary.json", summary)
    return summary


def over_seeds(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Prints means and intervals over the results of `one_seed`, and returns them."""
    summary: dict[str, Any] = {"runs": runs}
    table = Table("labels", "pairs as gold", "reward model as gold", "gold, best of 16", "gold, policy")
    for name in LABELS:
        columns = (f"{name}_pairs", f"{name}_reward_model", f"{name}_best", f"{name}_gold")
        table.add_row(name, *(add_summary(summary, column, [run[column] for run in runs]) for column in columns))
    Console().print(table, f"gold score before PPO: {np.mean([run['sft_gold'] for run in runs]):.3f}")
    for kind, what in (("best", "the best of 16"), ("gold", "the policy")):
        gains = [run[f"weighted_{kind}"] - run[f"majority_{kind}"] for run in runs]
        Console().print(f"gold score of {what}, weighted minus majority: {add_summary(summary, f'gain_{kind}', gains)}")
    return summary


def add_summary(summary: dict[str, Any], name: str, values: list[float]) -> str:
    """Mean over seeds, with Student's interval at 95 % where there are two or more; also into the summary."""
    summary[name] = mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.3f}"
    summary[f"{name}_low"], summary[f"{name}_high"] = low, high = student_interval(values)
    return f"{mean:.3f} ({low:.3f} to {high:.3f})"


def one_seed(args: Args, seed: int) -> dict[str, Any]:
    """SFT, judgements, then reward model and policy for each way to make labels."""
    start, run_dir, rng = time.process_time(), args.out / str(seed), np.random.default_rng(seed)
    run_sft(SFTOptions(training=SFTConfig(n_steps=args.sft_steps)), run_dir, seed)
    workers = make_workers(args.honest, args.careless, args.adversarial)
    perfect = make_workers(1, 0, 0, noise=1e-3)
    judgements = collect_judgements(
        workers, *replies(args.n_prompts, "train", rng), support_desk.gold_reward, overlap=args.overlap, rng=rng
    )
    votes = tally_votes(read_judgements(write_preferences(run_dir / "judgements.jsonl", judgements)))
    heldout = collect_judgements(
        perfect, *replies(args.n_evaluated, "heldout", rng), support_desk.gold_reward, overlap=1, rng=rng
    )
    write_preferences(run_dir / "heldout.jsonl", heldout)
    fit = fit_crowd_bt(votes, rng=rng)
    result: dict[str, Any] = {"seed": seed}
    for name, rows in zip(LABELS, (label_by_majority(votes), label_by_reliability(votes, fit)), strict=True):
        folder = run_dir / name
        write_preferences(folder / "labels.jsonl", rows)
        judge = RewardModelOptions(
            preferences=folder / "labels.jsonl",
            heldout=run_dir / "heldout.jsonl",
            model=run_dir / "sft",
            training=RewardModelConfig(n_epochs=3),
        )
        result[f"{name}_pairs"] = pairs_as_gold(rows)
        result[f"{name}_reward_model"] = run_reward_model(judge, folder, seed)["accuracy"]
        result[f"{name}_best"] = best_of(16, run_dir / "sft", folder / "reward_model", args.n_chosen, seed)
        run_ppo(PPOOptions(policy=run_dir / "sft", n_updates=args.n_updates), folder, seed)
        evaluation = EvaluationOptions(reference=run_dir / "sft", n_prompts=args.n_evaluated)
        figures = run_evaluation(evaluation, folder, seed)
        result |= {f"{name}_gold": figures["gold_ppo"], f"{name}_kl": figures["kl"], "sft_gold": figures["gold_sft"]}
    for rater, eta in zip(votes.raters, fit.reliability.mean(axis=0), strict=True):
        result[f"reliability_{rater}"] = float(eta)
    result["cpu_seconds"] = round(time.process_time() - start, 1)
    Console().print(result)
    return result


def replies(n: int, split: support_desk.Split, rng: np.random.Generator) -> tuple[list[str], list[list[str]]]:
    """Prompts of the support desk, and four demonstrations of mixed quality to each."""
    prompts = [row["prompt"] for row in support_desk.prompts(n, seed=int(rng.integers(2**31)), split=split)]
    return prompts, [[support_desk.demonstration(prompt, rng) for _ in range(4)] for prompt in prompts]


def best_of(n: int, policy: Path, judge: Path, n_prompts: int, seed: int) -> float:
    """Mean gold score, over held-out prompts, of the one of n sampled replies that the reward model scores best."""
    prompts = [row["prompt"] for row in support_desk.prompts(n_prompts, seed=seed + 7000, split="heldout")]
    model, tokenizer = load_model(AutoModelForCausalLM, policy), load_tokenizer(policy)
    groups = sample_completions(model, tokenizer, prompts, max_new_tokens=49, n=n, seed=seed)
    prompt_of_text = [prompt for prompt in prompts for _ in range(n)]
    texts = [completion.text for group in groups for completion in group]
    best = RewardModel.from_trained(judge).score(prompt_of_text, texts).reshape(-1, n).argmax(axis=1)
    gold = np.array(support_desk.gold_reward(prompt_of_text, texts)).reshape(-1, n)
    return float(gold[np.arange(len(gold)), best].mean())


def pairs_as_gold(rows: Rows) -> float:
    """Share of labels on the side of the gold reward, in [0, 1]; labels of 0.5 count half."""
    right = []
    for row in rows:
        gold = np.array(support_desk.gold_reward([row["prompt"]] * len(row["ranking"]), row["ranking"]))
        better, worse = np.triu_indices(len(gold), 1)
        side = np.sign(gold[better] - gold[worse]) * np.sign(np.array(row["soft_labels"]) - 0.5)
        right += ((1 + side) / 2)[gold[better] != gold[worse]].tolist()
    return float(np.mean(right))


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
