"""A reward model from preferences: simulated raters rank support-desk replies, a small transformer learns why.

You will see the loss per pair fall from chance (0.69), the held-out accuracy, and scores of a good and a bad reply.
Takes about 15 seconds on one CPU core.

Your own file has the columns `prompt`, `chosen`, `rejected`:
    python examples/train_reward_model.py --preferences mine.jsonl --model runs/examples/sft
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from textrl_env.agents import small_llama, train_tokenizer
from textrl_env.pipeline import RewardModelOptions, run_reward_model
from textrl_env.reward_models import RaterPopulation, RewardModel, RewardModelConfig, write_preferences
from textrl_env.worlds import support_desk


@dataclass(frozen=True)
class Args:
    """Options of the example."""

    run_dir: Path = Path("runs/examples")
    """Where the model goes: RUN/reward_model."""
    preferences: Path | None = None
    """Your JSONL with prompt, chosen and rejected; by default rankings of support-desk demonstrations."""
    model: Path | None = None
    """The model to start from; by default a small one from scratch."""
    n_prompts: int = 1000
    """Support-desk prompts, four demonstrations each."""
    training: RewardModelConfig = field(default_factory=lambda: RewardModelConfig(n_epochs=1))
    """How to train."""


def main(args: Args) -> dict[str, Any]:
    """Trains and returns the metrics on held-out pairs."""
    preferences = args.preferences or rank_demonstrations(args)
    model = args.model or from_scratch(args)
    options = RewardModelOptions(preferences=preferences, model=model, training=args.training)
    metrics = run_reward_model(options, args.run_dir, seed=0)
    reward_model = RewardModel.from_trained(args.run_dir / "reward_model")
    prompt = support_desk.prompts(1, seed=1, split="heldout")[0]["prompt"]
    good = support_desk.best_completion(prompt, np.random.default_rng(0))
    for completion in (good, " You are an idiot. Now leave me alone."):
        print(f"{reward_model.score([prompt], [completion])[0]:+.2f}  {completion.strip()}")
    print(f"held-out accuracy {metrics['accuracy']:.3f}; the model is in {args.run_dir / 'reward_model'}")
    return metrics


def rank_demonstrations(args: Args) -> Path:
    """Simulated raters rank four demonstrations a prompt."""
    rng = np.random.default_rng(0)
    prompts = [row["prompt"] for row in support_desk.prompts(args.n_prompts, seed=0)]
    texts = [[support_desk.demonstration(prompt, rng) for _ in range(4)] for prompt in prompts]
    rows = RaterPopulation.default(support_desk.gold_reward, seed=0).rank(prompts, texts, rng=rng)
    return write_preferences(args.run_dir / "preferences.jsonl", rows)


def from_scratch(args: Args) -> Path:
    """A small model with random weights and a tokenizer for the support desk."""
    rows = support_desk.demonstrations(2000, seed=0)
    tokenizer = train_tokenizer(row["prompt"] + row["completion"] for row in rows)
    folder = args.run_dir / "start"
    small_llama(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
