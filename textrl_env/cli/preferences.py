"""`textrl preferences`: completions of the SFT model, ranked by simulated raters."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from textrl_env.cli.run_folder import existing_model, write_json
from textrl_env.errors import InputError
from textrl_env.worlds import support_desk


@dataclass(frozen=True)
class CollectPreferences:
    """Ranks K completions per support-desk prompt by a population of simulated raters; writes RUN/preferences."""

    run_dir: Path = Path("runs/mine")
    """The run's folder."""
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
    seed: int = 0
    """Of prompts, sampling and raters."""

    def run(self) -> dict[str, float]:
        """Writes train.jsonl and heldout.jsonl; returns their sizes and the raters' ceiling on the held-out pairs."""
        if self.k < 2:
            raise InputError(f"k must be at least 2, got {self.k}")
        policy = existing_model(self.policy or self.run_dir / "sft", made_by="textrl sft")

        from transformers import AutoModelForCausalLM, AutoTokenizer

        from textrl_env.agents import sample_completions
        from textrl_env.reward_models import RaterPopulation, write_preferences

        tokenizer = AutoTokenizer.from_pretrained(policy)
        model = AutoModelForCausalLM.from_pretrained(policy)
        rows = support_desk.prompts(self.n_prompts + self.n_heldout, seed=self.seed + 1000)
        prompts = [row["prompt"] for row in rows]
        samples = sample_completions(
            model, tokenizer, prompts, max_new_tokens=self.max_new_tokens, n=self.k, seed=self.seed,
            description="preferences",
        )  # fmt: skip
        population = RaterPopulation.default(support_desk.gold_reward, self.n_raters, seed=self.seed)
        rng = np.random.default_rng(self.seed)
        texts = [[completion.text for completion in completions] for completions in samples]
        train = population.rank(prompts[: self.n_prompts], texts[: self.n_prompts], rng=rng)
        heldout = population.rank(prompts[self.n_prompts :], texts[self.n_prompts :], rng=rng)
        out = self.run_dir / "preferences"
        write_preferences(out / "train.jsonl", train)
        write_preferences(out / "heldout.jsonl", heldout)
        result = {"n_train": len(train), "n_heldout": len(heldout), "ceiling": population.ceiling(heldout)}
        write_json(out / "metrics.json", result)
        return result
