"""The trained policy beside the SFT model on held-out prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from textrl_env.data import OnBadRow, PromptDataset
from textrl_env.errors import InputError, require_count, require_seed
from textrl_env.pipeline import default_data
from textrl_env.pipeline.generation import EndTokenOptions
from textrl_env.pipeline.option_paths import InputFile
from textrl_env.pipeline.runs import encode_fitting_prompts, find_policy, read_json, require_model, write_jsonl
from textrl_env.stats import bootstrap_interval
from textrl_env.stats.comparison import distinct_n, wins

Scores = dict[str, Sequence[float]]
"""Scores of every completion, by the model that wrote it."""
LONGEST = 49
"""Tokens of a completion where the policy does not say how long it was trained to write."""


@dataclass(frozen=True)
class EvaluationOptions(EndTokenOptions):
    """Compares RUN/policy with RUN/sft; writes RUN/evaluation."""

    folder: ClassVar[str] = "evaluation"

    policy: Path | None = None
    """The trained policy, or a folder with one in policy/; by default RUN/policy."""
    reference: Path | None = None
    """What it is compared with; by default RUN/sft."""
    reward_model: Path | None = None
    """The reward model; by default RUN/reward_model."""
    prompts: InputFile | None = None
    """JSONL, CSV or TXT with held-out prompts; by default the support desk's, with gold scores."""
    on_bad_row: OnBadRow = "error"
    """What a bad row of `prompts` does: stop, or be left out and counted."""
    n_prompts: int = 500
    """How many held-out prompts of the support desk."""
    max_new_tokens: int | None = None
    """Longest completion, in tokens; by default the policy's own."""

    def __post_init__(self) -> None:
        require_count(1, n_prompts=self.n_prompts)
        if self.max_new_tokens is not None:
            require_count(1, max_new_tokens=self.max_new_tokens)


@dataclass(frozen=True)
class Contest:
    """Two models that answer the same prompts, and the folder of the reward model that scores them.

    Attributes:
        policy, reference, judge: folders.
        dataset: the prompts.
        tokenizer: of the policy.
        max_new_tokens: of a completion.
        eos_token_ids: that end one; None for each model's own.
    """

    policy: Path
    reference: Path
    judge: Path
    dataset: PromptDataset
    tokenizer: Any
    max_new_tokens: int
    eos_token_ids: tuple[int, ...] | None


def run_evaluation(options: EvaluationOptions, run_dir: Path, seed: int = 0) -> dict[str, Any]:
    """Samples a completion of each prompt from policy and reference; writes RUN/evaluation/completions.jsonl.

    Returns:
        Flat metrics of `compare`, mean lengths in tokens and, on default prompts, the gold reward's terms; "ppo" stands
        for the policy and "sft" for the reference in their names.

    Raises:
        InputError: an option or a row is wrong, or a model is missing; it is named.
    """
    contest = _find_contest(options, run_dir, seed)
    prompts, tokenizer = list(contest.dataset.prompts), contest.tokenizer
    texts_of_prompts = [contest.dataset.text(index, tokenizer) for index in range(len(prompts))]

    from transformers import AutoModelForCausalLM

    from textrl_env.agents.rollouts import completion_logprobs
    from textrl_env.lm import load_model
    from textrl_env.reward_models import ModelReward, RewardModel

    models = {
        "sft": load_model(AutoModelForCausalLM, contest.reference),
        "ppo": load_model(AutoModelForCausalLM, contest.policy),
    }
    proxy = ModelReward(RewardModel.from_trained(contest.judge))
    titles = name_models(options)
    samples = {
        name: _sample(contest, models[name], seed, f"evaluation of {title}")
        for name, title in zip(models, titles, strict=True)
    }
    texts = {name: [completion.text for completion in completions] for name, completions in samples.items()}
    scores: dict[str, Scores] = {"proxy": {name: proxy(prompts, texts[name]) for name in models}}
    if options.prompts is None:
        scores["gold"] = {name: default_data.gold_reward(prompts, texts[name]) for name in models}
    logprobs = {
        name: completion_logprobs(model, samples["ppo"], vocab_size=len(tokenizer)) for name, model in models.items()
    }
    kl = np.array(logprobs["ppo"]) - np.array(logprobs["sft"])
    metrics = compare(scores, texts, kl, rng=np.random.default_rng(require_seed(seed)))
    for name, completions in samples.items():
        metrics[f"length_{name}"] = float(np.mean([len(completion.ids) for completion in completions]))
    if options.prompts is None:
        metrics |= _mean_gold_terms(prompts, texts)
    rows = _as_rows(texts_of_prompts, texts, scores)
    write_jsonl(run_dir / options.folder / "completions.jsonl", rows)
    return metrics


def name_models(options: EvaluationOptions) -> tuple[str, str]:
    """Returns the names of the reference and of the policy for people."""
    return "the reference" if options.reference else "SFT", "the policy" if options.policy else "PPO"


def compare(
    scores: dict[str, Scores], texts: dict[str, list[str]], kl: Any, *, rng: np.random.Generator
) -> dict[str, float]:
    """Computes flat metrics of "sft" and "ppo": means, win rates and their 95 % intervals, KL, diversity.

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
    for name, completions in texts.items():
        metrics[f"distinct_1_{name}"] = distinct_n(completions, 1)
        metrics[f"distinct_2_{name}"] = distinct_n(completions, 2)
    return metrics


def _find_contest(options: EvaluationOptions, run_dir: Path, seed: int) -> Contest:
    """Returns what is compared, each model known to be there and all prompts to fit; nothing large is loaded."""
    require_seed(seed)
    policy = require_model(
        options.policy and find_policy(options.policy),
        run_dir / "policy",
        made_by=f"textrl ppo --run-dir {run_dir}",
        kind="language model",
    )
    reference = require_model(
        options.reference and find_policy(options.reference),
        run_dir / "sft",
        made_by=f"textrl sft --run-dir {run_dir}",
        kind="language model",
    )
    judge = require_model(
        options.reward_model,
        run_dir / "reward_model",
        made_by=f"textrl reward-model --run-dir {run_dir}",
        kind="reward model",
    )
    limit = options.max_new_tokens or _read_longest(policy) or LONGEST
    if options.prompts is None:
        dataset = default_data.draw_evaluation_prompts(options.n_prompts, seed=seed)
    else:
        dataset = PromptDataset.from_file(options.prompts, on_bad_row=options.on_bad_row)
    tokenizers: list[Any] = []
    for model in (policy, reference):
        fitting = encode_fitting_prompts(model, dataset, max_new_tokens=limit, on_bad_row=options.on_bad_row)
        dataset, tokenizers = fitting.dataset, [*tokenizers, fitting.tokenizer]
    if tokenizers[0].get_vocab() != tokenizers[1].get_vocab():
        raise InputError(f"{policy}: its tokens are not those of {reference}; compare models with one tokenizer")
    return Contest(policy, reference, judge, dataset, tokenizers[0], limit, options.eos_token_ids)


def _read_longest(policy: Path) -> int | None:
    """Returns the length that transformers' generation settings of a policy give, if any."""
    path = policy / "generation_config.json"
    return read_json(path).get("max_new_tokens") if path.is_file() else None


def _sample(contest: Contest, model: Any, seed: int, description: str) -> list[Any]:
    """Returns one completion of each prompt."""
    from textrl_env.agents import sample_completions

    groups = sample_completions(
        model,
        contest.tokenizer,
        contest.dataset.prompts,
        max_new_tokens=contest.max_new_tokens,
        eos_token_ids=contest.eos_token_ids,
        seed=seed,
        description=description,
    )
    return [group[0] for group in groups]


def _mean_gold_terms(prompts: list[str], texts: dict[str, list[str]]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for name, completions in texts.items():
        parts = [default_data.gold_terms(*pair) for pair in zip(prompts, completions, strict=True)]
        metrics |= {f"gold_{term}_{name}": float(np.mean([part[term] for part in parts])) for term in parts[0]}
    return metrics


def _as_rows(prompts: list[str], texts: dict[str, list[str]], scores: dict[str, Scores]) -> list[dict[str, Any]]:
    rows = []
    for index, prompt in enumerate(prompts):
        row: dict[str, Any] = {"prompt": prompt} | {name: completions[index] for name, completions in texts.items()}
        for kind, by_policy in scores.items():
            row |= {f"{kind}_{name}": float(values[index]) for name, values in by_policy.items()}
        rows.append(row)
    return rows
