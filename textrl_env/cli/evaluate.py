"""`textrl evaluate`: the PPO policy beside the SFT model on held-out prompts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from textrl_env.cli.run_folder import existing_model, write_json, write_jsonl
from textrl_env.errors import InputError
from textrl_env.evaluation import bootstrap_interval, distinct_n, wins
from textrl_env.prompts import PromptDataset
from textrl_env.worlds import support_desk

Scores = dict[str, Sequence[float]]


@dataclass(frozen=True)
class Evaluate:
    """Compares RUN/policy with RUN/sft on held-out prompts; writes RUN/evaluation."""

    run_dir: Path = Path("runs/mine")
    """The run's folder."""
    policy: Path | None = None
    """The trained policy; by default RUN/policy."""
    reference: Path | None = None
    """What it is compared with; by default RUN/sft."""
    reward_model: Path | None = None
    """The reward model; by default RUN/reward_model."""
    prompts: Path | None = None
    """JSONL, CSV or TXT with held-out prompts; by default the support desk's, with gold scores."""
    n_prompts: int = 500
    """How many held-out prompts of the support desk."""
    max_new_tokens: int = 49
    """Longest completion, in tokens."""
    seed: int = 0
    """Of prompts, sampling and the bootstrap."""

    def run(self) -> dict[str, float]:
        """Writes metrics.json and completions.jsonl; returns the metrics, intervals at 95 %."""
        if self.n_prompts < 1:
            raise InputError(f"n_prompts must be at least 1, got {self.n_prompts}")
        policy = existing_model(self.policy or self.run_dir / "policy", made_by="textrl ppo")
        reference = existing_model(self.reference or self.run_dir / "sft", made_by="textrl sft")
        reward_model = existing_model(self.reward_model or self.run_dir / "reward_model", made_by="textrl reward-model")
        if self.prompts is None:
            rows = support_desk.prompts(self.n_prompts, seed=self.seed + 3000, split="heldout")
            prompts = [row["prompt"] for row in rows]
        else:
            prompts = list(PromptDataset.from_file(self.prompts).prompts)

        from transformers import AutoModelForCausalLM, AutoTokenizer

        from textrl_env.agents import sample_completions
        from textrl_env.agents.sampling import completion_logprobs
        from textrl_env.reward_models import RewardModel

        tokenizer = AutoTokenizer.from_pretrained(reference)
        models = {
            "sft": AutoModelForCausalLM.from_pretrained(reference),
            "ppo": AutoModelForCausalLM.from_pretrained(policy),
        }
        judge = RewardModel.from_pretrained(reward_model)
        samples = {
            name: [
                completions[0]
                for completions in sample_completions(
                    model, tokenizer, prompts, max_new_tokens=self.max_new_tokens, seed=self.seed,
                    description=f"evaluation of {name}",
                )
            ]
            for name, model in models.items()
        }  # fmt: skip
        texts = {name: [completion.text for completion in completions] for name, completions in samples.items()}
        scores: dict[str, Scores] = {"proxy": {name: judge.score(prompts, texts[name]).tolist() for name in models}}
        if self.prompts is None:
            scores["gold"] = {name: support_desk.gold_reward(prompts, texts[name]) for name in models}
        logprobs = {
            name: completion_logprobs(model, samples["ppo"], vocab_size=len(tokenizer))
            for name, model in models.items()
        }
        kl = np.array(logprobs["ppo"]) - np.array(logprobs["sft"])
        metrics = compare(scores, texts, kl, rng=np.random.default_rng(self.seed))
        for name, completions in samples.items():
            metrics[f"length_{name}"] = float(np.mean([len(completion.ids) for completion in completions]))
        if self.prompts is None:
            metrics |= _gold_terms(prompts, texts)
        out = self.run_dir / "evaluation"
        write_json(out / "metrics.json", metrics)
        write_jsonl(out / "completions.jsonl", _rows(prompts, texts, scores))
        return metrics


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
