"""`textrl evaluate`: the PPO policy beside the SFT model on held-out prompts."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from rich.console import RenderableType
from rich.table import Table

from textrl_env.cli.fitting import fitting_tokenizer
from textrl_env.cli.optional import OptionalInt, OptionalPath
from textrl_env.cli.run_folder import Kind, existing_model, generation_settings, policy_folder, write_jsonl
from textrl_env.data import OnBadRow, PromptDataset
from textrl_env.errors import require_at_least
from textrl_env.lm import load_model
from textrl_env.stats import bootstrap_interval
from textrl_env.stats.comparison import distinct_n, wins
from textrl_env.worlds import support_desk

Scores = dict[str, Sequence[float]]
LONGEST = 49
"""Tokens of a completion where the policy does not say how long it was trained to write."""
SHOWN = {
    "gold score": "gold",
    "proxy score": "proxy",
    "tokens": "length",
    "distinct bigrams": "distinct_2",
}


@dataclass(frozen=True)
class Evaluate:
    """Compares RUN/policy with RUN/sft; writes RUN/evaluation."""

    folder: ClassVar[str] = "evaluation"

    policy: OptionalPath = None
    """The trained policy, or a folder with one in policy/; by default RUN/policy."""
    reference: OptionalPath = None
    """What it is compared with; by default RUN/sft."""
    reward_model: OptionalPath = None
    """The reward model; by default RUN/reward_model."""
    prompts: OptionalPath = None
    """JSONL, CSV or TXT with held-out prompts; by default the support desk's, with gold scores."""
    on_bad_row: OnBadRow = "error"
    """What a bad row of `prompts` does: stop, or be left out and counted."""
    n_prompts: int = 500
    """How many held-out prompts of the support desk."""
    max_new_tokens: OptionalInt = None
    """Longest completion, in tokens; by default the policy's own."""

    def run(self, run_dir: Path, seed: int) -> dict[str, Any]:
        """Writes completions.jsonl; the metrics are flat, with intervals at 95 %."""
        require_at_least(1, n_prompts=self.n_prompts)
        if self.max_new_tokens is not None:
            require_at_least(1, max_new_tokens=self.max_new_tokens)
        asked: tuple[tuple[Path | None, str, str, Kind], ...] = (
            (self.policy and policy_folder(self.policy), "policy", "ppo", "language model"),
            (self.reference and policy_folder(self.reference), "sft", "sft", "language model"),
            (self.reward_model, "reward_model", "reward-model", "reward model"),
        )
        policy, reference, judge = (
            existing_model(given or run_dir / name, made_by=f"textrl {command} --run-dir {run_dir}", kind=kind)
            for given, name, command, kind in asked
        )
        longest = self.max_new_tokens or generation_settings(policy).get("max_new_tokens") or LONGEST
        dataset = self._prompts(seed)
        for model in (policy, reference):
            tokenizer = fitting_tokenizer(model, dataset, max_new_tokens=longest)
        prompts = list(dataset.prompts)
        shown = [dataset.text(index, tokenizer) for index in range(len(dataset))]

        from transformers import AutoModelForCausalLM

        from textrl_env.agents import sample_completions
        from textrl_env.agents.rollouts import completion_logprobs
        from textrl_env.reward_models import RewardModel

        models = {
            "sft": load_model(AutoModelForCausalLM, reference),
            "ppo": load_model(AutoModelForCausalLM, policy),
        }
        reward_model = RewardModel.from_pretrained(judge)
        samples = {
            name: [
                completions[0]
                for completions in sample_completions(
                    model, tokenizer, prompts, max_new_tokens=longest, seed=seed,
                    description=f"evaluation of {shown_as}",
                )
            ]
            for (name, model), shown_as in zip(models.items(), self._names, strict=True)
        }  # fmt: skip
        texts = {name: [completion.text for completion in completions] for name, completions in samples.items()}
        scores: dict[str, Scores] = {
            "proxy": {name: reward_model.score(prompts, texts[name]).tolist() for name in models}
        }
        if self.prompts is None:
            scores["gold"] = {name: support_desk.gold_reward(prompts, texts[name]) for name in models}
        logprobs = {
            name: completion_logprobs(model, samples["ppo"], vocab_size=len(tokenizer))
            for name, model in models.items()
        }
        kl = np.array(logprobs["ppo"]) - np.array(logprobs["sft"])
        metrics = compare(scores, texts, kl, rng=np.random.default_rng(seed))
        for name, completions in samples.items():
            metrics[f"length_{name}"] = float(np.mean([len(completion.ids) for completion in completions]))
        if self.prompts is None:
            metrics |= _gold_terms(prompts, texts)
        write_jsonl(run_dir / self.folder / "completions.jsonl", _rows(shown, texts, scores))
        return metrics

    def outcome(self, run_dir: Path, metrics: dict[str, Any]) -> Iterator[RenderableType]:
        """A table and lines for the terminal."""
        reference, policy = self._names
        yield from comparison(metrics, reference=reference, policy=policy)
        yield f"completions and figures are in {run_dir / self.folder}"
        # The report draws PPO's curves, and would show another policy's figures beside them.
        if self.policy is None and (run_dir / "ppo").is_dir():
            yield f"next: textrl report --run-dir {run_dir}"

    @property
    def _names(self) -> tuple[str, str]:
        """Of the reference and of the policy, for the terminal."""
        return "the reference" if self.reference else "SFT", "the policy" if self.policy else "PPO"

    def _prompts(self, seed: int) -> PromptDataset:
        if self.prompts is not None:
            return PromptDataset.from_file(self.prompts, on_bad_row=self.on_bad_row)
        rows = support_desk.prompts(self.n_prompts, seed=seed + 3000, split="heldout")
        return PromptDataset.of([row["prompt"] for row in rows])


def comparison(metrics: dict[str, Any], *, reference: str = "SFT", policy: str = "PPO") -> Iterator[RenderableType]:
    """Metrics of `compare` for the terminal: both models side by side, the win rates with their intervals, the KL."""
    table = Table("", title="held-out prompts", title_justify="left")
    for column in (reference, policy):
        table.add_column(column, justify="right")
    for label, name in SHOWN.items():
        if f"{name}_sft" in metrics:
            table.add_row(label, f"{metrics[f'{name}_sft']:.3f}", f"{metrics[f'{name}_ppo']:.3f}")
    yield table
    for label, name in (("gold", "gold_win_rate"), ("the reward model", "proxy_win_rate")):
        if name in metrics:
            low, high = metrics[f"{name}_low"], metrics[f"{name}_high"]
            interval = f"95% interval {low:.1%} to {high:.1%}"
            yield f"{policy} beats {reference} under {label}: {metrics[name]:.1%} ({interval})"
    yield f"KL to {reference} {metrics['kl']:.1f} nats per completion"


def compare(
    scores: dict[str, Scores], texts: dict[str, list[str]], kl: Any, *, rng: np.random.Generator
) -> dict[str, float]:
    """Flat metrics of "sft" and "ppo": means, win rates and their 95 % intervals, KL, diversity.

    Args:
        scores: per kind of score ("proxy", "gold"), (B,) per policy.
        texts: B completions per policy.
        kl: (B,) log-ratios of the PPO policy's samples, in nats.
        rng: of the bootstrap.
    """
    metrics: dict[str, float] = {}

    def record(name: str, values: Any) -> None:
        metrics[name] = float(np.mean(values))
        metrics[f"{name}_low"], metrics[f"{name}_high"] = bootstrap_interval(values, rng=rng)

    for kind, by_policy in scores.items():
        for name, values in by_policy.items():
            record(f"{kind}_{name}", values)
        record(f"{kind}_win_rate", wins(by_policy["ppo"], by_policy["sft"]))
    record("kl", kl)
    for name, written in texts.items():
        metrics[f"distinct_1_{name}"] = distinct_n(written, 1)
        metrics[f"distinct_2_{name}"] = distinct_n(written, 2)
    return metrics


def _gold_terms(prompts: list[str], texts: dict[str, list[str]]) -> dict[str, float]:
    terms: Callable[[str, str], dict[str, float]] = support_desk.gold_terms
    metrics: dict[str, float] = {}
    for name, written in texts.items():
        parts = [terms(*pair) for pair in zip(prompts, written, strict=True)]
        metrics |= {f"gold_{term}_{name}": float(np.mean([part[term] for part in parts])) for term in parts[0]}
    return metrics


def _rows(prompts: list[str], texts: dict[str, list[str]], scores: dict[str, Scores]) -> list[dict[str, Any]]:
    rows = []
    for index, prompt in enumerate(prompts):
        row: dict[str, Any] = {"prompt": prompt} | {name: written[index] for name, written in texts.items()}
        for kind, by_policy in scores.items():
            row |= {f"{kind}_{name}": float(values[index]) for name, values in by_policy.items()}
        rows.append(row)
    return rows
