"""What the kinds of reward models cost and how good they get, on the support desk.

Trains each on the same rankings from the same SFT model, one after the other, and prints processor seconds of the
training as a share of full training, and accuracy on held-out pairs. `head, trained trunk` trains a head on what full
training left. Accuracies are of one seed; between seeds they differ by about 0.01. Three minutes of CPU.

    textrl quickstart
    OMP_NUM_THREADS=1 python benchmarks/reward_model_kinds.py --run runs/quickstart
"""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from textrl_env.reward_models import RewardModelConfig, read_preferences
from textrl_env.reward_models.measuring import quality_report, score_pairs
from textrl_env.reward_models.training import RewardModelKind, create_reward_model, create_training, settle_scores

QUICK = RewardModelConfig(n_epochs=10, learning_rate=1e-2)
VARIANTS: dict[str, tuple[RewardModelKind, RewardModelConfig, str]] = {
    "full": (RewardModelKind(), RewardModelConfig(), "sft"),
    "lora, rank 16": (RewardModelKind(train="lora"), RewardModelConfig(), "sft"),
    "full, 5 members": (RewardModelKind(members=5), RewardModelConfig(), "sft"),
    "head": (RewardModelKind(train="head"), QUICK, "sft"),
    "head, trained trunk": (RewardModelKind(train="head"), QUICK, "full"),
    "head, trained trunk, 5 members": (RewardModelKind(train="head", members=5), QUICK, "full"),
}


@dataclass(frozen=True)
class Args:
    """What to measure."""

    run: Path = Path("runs/quickstart")
    """A quickstart's folder."""
    n_preferences: int = 1000
    """Rankings to train on."""
    variants: tuple[str, ...] = field(default_factory=lambda: tuple(VARIANTS))
    """Which; `full` comes first."""
    out: Path = Path("runs/benchmarks/reward_model_kinds.json")
    """The measurements; the model of `full` stands beside."""


def main(args: Args) -> dict[str, dict[str, Any]]:
    """Prints the table and writes it; returns the rows."""
    train = read_preferences(args.run / "preferences" / "train.jsonl")[: args.n_preferences]
    heldout = read_preferences(args.run / "preferences" / "heldout.jsonl")
    starts = {"sft": args.run / "sft", "full": args.out.parent / "full_reward_model"}
    results: dict[str, dict[str, Any]] = {}
    for name in args.variants:
        kind, config, start = VARIANTS[name]
        reward_model = create_reward_model(starts[start], kind, seed=0)
        began = time.process_time()
        training = create_training(reward_model, kind, train, config, seed=0)
        training.run()
        settle_scores(reward_model, kind, training)
        seconds = time.process_time() - began
        if name == "full":
            reward_model.save_pretrained(starts["full"])
        n_parameters = sum(value.numel() for group in training.optimizer.param_groups for value in group["params"])
        accuracy = quality_report(score_pairs(reward_model, heldout))["accuracy"]
        results[name] = {"seconds": seconds, "trained": n_parameters, "accuracy": accuracy}
    table = Table("kind", "trained parameters", "CPU time", "accuracy", title=f"{len(train)} rankings")
    for name, row in results.items():
        share = row["seconds"] / results["full"]["seconds"]
        table.add_row(name, f"{row['trained']:,}", f"{share:.2f}", f"{row['accuracy']:.3f}")
    Console().print(table)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(results, indent=1) + "\n")
    return results


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
