"""`textrl preferences`: completions of the SFT model, ranked by simulated raters."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from textrl_env.cli.fitting import fitting_tokenizer
from textrl_env.cli.memory import Footprint, longest_tokens
from textrl_env.cli.optional import OptionalPath
from textrl_env.cli.run_folder import existing_model
from textrl_env.data import PromptDataset
from textrl_env.errors import require_at_least
from textrl_env.lm import load_model
from textrl_env.worlds import support_desk


@dataclass(frozen=True)
class CollectPreferences:
    """Simulated raters rank K replies to each support-desk prompt; writes RUN/preferences."""

    folder: ClassVar[str] = "preferences"

    policy: OptionalPath = None
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

    def run(self, run_dir: Path, seed: int) -> dict[str, Any]:
        """Writes train.jsonl and heldout.jsonl; the metrics are their sizes and the raters' ceiling on the latter."""
        require_at_least(2, k=self.k)
        require_at_least(1, n_prompts=self.n_prompts, n_heldout=self.n_heldout, n_raters=self.n_raters)
        policy = existing_model(self.policy or run_dir / "sft", made_by=f"textrl sft --run-dir {run_dir}")
        rows = support_desk.prompts(self.n_prompts + self.n_heldout, seed=seed + 1000)
        prompts = [row["prompt"] for row in rows]
        tokenizer = fitting_tokenizer(policy, PromptDataset.of(prompts), max_new_tokens=self.max_new_tokens)

        from transformers import AutoModelForCausalLM

        from textrl_env.agents import sample_completions
        from textrl_env.reward_models import RaterPopulation, write_preferences

        model = load_model(AutoModelForCausalLM, policy)
        samples = sample_completions(
            model, tokenizer, prompts, max_new_tokens=self.max_new_tokens, n=self.k, seed=seed,
            description="preferences",
        )  # fmt: skip
        population = RaterPopulation.default(support_desk.gold_reward, self.n_raters, seed=seed)
        rng = np.random.default_rng(seed)
        texts = [[completion.text for completion in completions] for completions in samples]
        train = population.rank(prompts[: self.n_prompts], texts[: self.n_prompts], rng=rng)
        heldout = population.rank(prompts[self.n_prompts :], texts[self.n_prompts :], rng=rng)
        out, attributes = run_dir / self.folder, {row["prompt"]: row for row in rows}
        for name, ranked in (("train", train), ("heldout", heldout)):
            # With problem, product and harmful, so that results can be told apart by them.
            write_preferences(out / f"{name}.jsonl", (row | attributes[row["prompt"]] for row in ranked))
        return {"n_train": len(train), "n_heldout": len(heldout), "ceiling": population.ceiling(heldout)}

    def outcome(self, run_dir: Path, metrics: dict[str, Any]) -> Iterator[str]:
        """Lines for the terminal."""
        yield (
            f"{metrics['n_train']} rankings of {self.k} completions to train on, {metrics['n_heldout']} held out, in "
            f"{run_dir / self.folder}; the raters' own ceiling is {metrics['ceiling']:.3f}"
        )
        yield f"next: textrl reward-model --run-dir {run_dir}"

    writes: ClassVar[tuple[str, ...]] = ("preferences",)

    def rehearsals(self) -> tuple["CollectPreferences", "CollectPreferences"]:
        """Twelve prompts, and sixty."""
        tiny = replace(self, n_prompts=min(self.n_prompts, 10), n_heldout=min(self.n_heldout, 2))
        return tiny, replace(tiny, n_prompts=min(self.n_prompts, 58))

    def work(self, run_dir: Path) -> int:
        """Completions."""
        return self.k * (self.n_prompts + self.n_heldout)

    def footprint(self, run_dir: Path) -> Footprint:
        """The policy, and a batch of completions in the cache."""
        policy = self.policy or run_dir / "sft"
        prompts = [row["prompt"] for row in support_desk.prompts(256, seed=1000)]
        length = self.max_new_tokens + longest_tokens(policy, prompts)
        return Footprint(frozen=[policy], cached_tokens=min(256, self.work(run_dir)) * length)
