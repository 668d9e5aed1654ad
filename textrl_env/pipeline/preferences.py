"""Preferences for a reward model: completions of the SFT model, ranked by simulated raters."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from textrl_env.data import PromptDataset
from textrl_env.errors import require_count, require_seed
from textrl_env.pipeline import default_data
from textrl_env.pipeline.generation import EndTokenOptions
from textrl_env.pipeline.runs import encode_fitting_prompts, require_model


@dataclass(frozen=True)
class PreferencesOptions(EndTokenOptions):
    """Simulated raters rank K replies to each support-desk prompt; writes RUN/preferences."""

    folder: ClassVar[str] = "preferences"

    policy: Path | None = None
    """The causal LM that writes the completions; by default RUN/sft."""
    n_prompts: int = 2500
    """Prompts whose rankings train the reward model."""
    n_heldout: int = 300
    """Further prompts whose rankings judge it."""
    k: int = 4
    """Completions per prompt; at least 2."""
    n_raters: int = 12
    """Simulated raters; a quarter are noisy, a quarter prefer longer texts."""
    max_new_tokens: int = 49
    """Longest completion, in tokens."""

    def __post_init__(self) -> None:
        require_count(2, k=self.k)
        require_count(1, n_prompts=self.n_prompts, n_heldout=self.n_heldout, n_raters=self.n_raters)
        require_count(1, max_new_tokens=self.max_new_tokens)


def run_preferences(options: PreferencesOptions, run_dir: Path, seed: int = 0) -> dict[str, Any]:
    """Writes rankings of K sampled completions a prompt to RUN/preferences/train.jsonl and heldout.jsonl.

    Returns:
        How many rankings are in each, and the raters' own ceiling on the latter: how often they agree with themselves.

    Raises:
        InputError: an option is wrong, or RUN/sft is missing.
    """
    require_seed(seed)
    policy = require_model(options.policy, run_dir / "sft", made_by=f"textrl sft --run-dir {run_dir}")
    rows = default_data.draw_requests(options.n_prompts + options.n_heldout, seed=seed)
    prompts = [row["prompt"] for row in rows]
    completions = _sample(options, policy, prompts, seed)

    from textrl_env.reward_models import RaterPopulation, write_preferences

    population = RaterPopulation.default(default_data.gold_reward, options.n_raters, seed=seed)
    rng = np.random.default_rng(require_seed(seed))
    split = options.n_prompts
    train = population.rank(prompts[:split], completions[:split], rng=rng)
    heldout = population.rank(prompts[split:], completions[split:], rng=rng)
    attributes = {row["prompt"]: row for row in rows}
    for name, rankings in (("train", train), ("heldout", heldout)):
        # With problem, product and harmful, so that results can be told apart by them.
        path = run_dir / options.folder / f"{name}.jsonl"
        write_preferences(path, (row | attributes[row["prompt"]] for row in rankings))
    return {"n_train": len(train), "n_heldout": len(heldout), "ceiling": population.ceiling(heldout)}


def _sample(options: PreferencesOptions, policy: Path, prompts: list[str], seed: int) -> list[list[str]]:
    """Returns K completions of each prompt."""
    limit = options.max_new_tokens
    tokenizer = encode_fitting_prompts(policy, PromptDataset.of(prompts), max_new_tokens=limit).tokenizer

    from transformers import AutoModelForCausalLM

    from textrl_env.agents import sample_completions
    from textrl_env.lm import load_model

    model = load_model(AutoModelForCausalLM, policy)
    samples = sample_completions(
        model,
        tokenizer,
        prompts,
        max_new_tokens=limit,
        n=options.k,
        eos_token_ids=options.eos_token_ids,
        seed=seed,
        description="preferences",
    )
    return [[completion.text for completion in completions] for completions in samples]
