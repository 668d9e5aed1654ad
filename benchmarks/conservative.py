"""Over-optimisation of an ensemble's mean and of its conservative scores: gold of the best of n, on the support desk.

Samples completions of held-out prompts from a run's SFT model, lets every rule choose the best of n, and prints the
gold score of what it chose with the standard error over prompts. It gets to see more of a proxy's errors the larger n
is, as a policy does the further it is trained (Gao et al. 2023). A minute and a half of CPU.

    textrl quickstart
    textrl reward-model --run-dir runs/few --model runs/quickstart/sft --n-preferences 200 --members 5 --normalize \
        --preferences runs/quickstart/preferences/train.jsonl --heldout runs/quickstart/preferences/heldout.jsonl
    python benchmarks/conservative.py --ensemble runs/few/reward_model
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tyro
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM

from textrl_env.agents import sample_completions
from textrl_env.lm import load_model, load_tokenizer
from textrl_env.reward_models.model import RewardEnsemble, conservative_scores
from textrl_env.worlds import support_desk

SIZES = (1, 4, 16, 64)
RULES: dict[str, Any] = {"mean": 0.0, "mean - 1 std": 1.0, "mean - 2 std": 2.0, "minimum": "minimum"}
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Args:
    """What to measure."""

    policy: Path = Path("runs/quickstart/sft")
    """The model that writes the completions."""
    ensemble: Path = Path("runs/few/reward_model")
    """The ensemble that judges them."""
    n_prompts: int = 150
    """Held-out prompts, 64 completions each."""
    seed: int = 0
    """Of prompts and samples."""


def gold_of_best(scores: Floats, gold: Floats, n: int) -> Floats:
    """Mean gold of the best of n, over disjoint groups of n of a prompt's m completions: (P, m) -> (P,)."""
    groups = scores.reshape(len(scores), -1, n)
    best = groups.argmax(axis=2)[..., None]
    chosen: Floats = np.take_along_axis(gold.reshape(groups.shape), best, axis=2).mean(axis=(1, 2))
    return chosen


def main(args: Args) -> dict[str, list[float]]:
    """Prints the table; returns the mean gold by rule, in the order of SIZES."""
    prompts = [row["prompt"] for row in support_desk.prompts(args.n_prompts, seed=args.seed, split="heldout")]
    samples = sample_completions(
        load_model(AutoModelForCausalLM, args.policy),
        load_tokenizer(args.policy),
        prompts,
        n=SIZES[-1],
        max_new_tokens=49,
        seed=args.seed,
        description="completions",
    )
    owners = [prompt for prompt in prompts for _ in range(SIZES[-1])]
    texts = [completion.text for group in samples for completion in group]
    members = RewardEnsemble.from_pretrained(args.ensemble).member_scores(owners, texts)
    shape = (len(prompts), SIZES[-1])
    gold = np.array(support_desk.gold_reward(owners, texts)).reshape(shape)
    rules = {name: conservative_scores(members, k).reshape(shape) for name, k in RULES.items()} | {"gold itself": gold}
    table = Table("chosen by", *(f"best of {n}" for n in SIZES), title=f"gold score, {len(prompts)} prompts")
    gold_means = {}
    for name, scores in rules.items():
        by_prompt = [gold_of_best(scores, gold, n) for n in SIZES]
        gold_means[name] = [float(values.mean()) for values in by_prompt]
        errors = [values.std() / len(values) ** 0.5 for values in by_prompt]
        table.add_row(
            name, *(f"{mean:.3f} ± {error:.3f}" for mean, error in zip(gold_means[name], errors, strict=True))
        )
    Console().print(table)
    spread = members.std(axis=1).reshape(shape)
    best = rules["mean"].argmax(axis=1)[:, None]
    print(f"members' std: {spread.mean():.2f} on average, {np.take_along_axis(spread, best, 1).mean():.2f} on the best")
    return gold_means


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
