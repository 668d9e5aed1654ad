"""Lines and tables for the terminal when a stage is done: the result, where it is, and what comes next."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from textrl_env.pipeline import (
    DPOOptions,
    EvaluationOptions,
    PolicyOptions,
    PreferencesOptions,
    RewardModelOptions,
    SFTOptions,
    name_models,
)

Metrics = dict[str, Any]
COMPARISON = {
    "gold score": "gold",
    "proxy score": "proxy",
    "tokens": "length",
    "distinct bigrams": "distinct_2",
}
"""Row of the table -> name among the metrics of `compare`, without the model."""


def describe_sft(options: SFTOptions, run_dir: Path, metrics: Metrics) -> Iterator[str]:
    """Yields the held-out loss, and the stage after."""
    yield (
        f"held-out loss {metrics['heldout_loss']:.3f} nats per token on {metrics['n_heldout']} demonstrations; "
        f"the model is in {run_dir / options.folder}"
    )
    own_data = options.demonstrations is not None
    step = "reward-model --preferences YOURS.jsonl" if own_data else "preferences"
    yield f"next: textrl {step} --run-dir {run_dir}"


def describe_preferences(options: PreferencesOptions, run_dir: Path, metrics: Metrics) -> Iterator[str]:
    """Yields how many rankings there are, and the raters' ceiling."""
    yield (
        f"{metrics['n_train']} rankings of {options.k} completions to train on, {metrics['n_heldout']} held out, in "
        f"{run_dir / options.folder}; the raters' own ceiling is {metrics['ceiling']:.3f}"
    )
    yield f"next: textrl reward-model --run-dir {run_dir}"


def describe_reward_model(options: RewardModelOptions, run_dir: Path, metrics: Metrics) -> Iterator[str]:
    """Yields the accuracy on held-out pairs."""
    ceiling = f" (the raters' own ceiling is {metrics['ceiling']:.3f})" if "ceiling" in metrics else ""
    verdict = "no two held-out ratings differ, so nothing says how good it is"
    if metrics["n_pairs"]:
        verdict = f"accuracy {metrics['accuracy']:.3f} on {metrics['n_pairs']} held-out pairs{ceiling}"
    yield f"{verdict}; the reward model is in {run_dir / options.folder}"
    more = f" --policy {options.model}" if options.model else ""
    more += " --prompts YOURS.jsonl" if options.preferences else ""
    yield f"next: textrl ppo --run-dir {run_dir}{more}"


def describe_policy(options: PolicyOptions, run_dir: Path, metrics: Metrics) -> Iterator[str]:
    """Yields score and KL of the last completions of an on-policy algorithm."""
    exports = run_dir / options.exports
    yield (
        f"{metrics['n_updates']} updates; the last completions score {metrics['score']:+.2f} at a KL of "
        f"{metrics['kl']:.1f} nats; the policy is in {exports}, curves in {run_dir / options.folder}"
    )
    if metrics["n_updates"] < options.n_updates:
        yield f"training ended before update {options.n_updates}: the KL came above max_kl {options.max_kl}"
    command = f"next: textrl evaluate --run-dir {run_dir}"
    if exports != run_dir / "policy":
        command += f" --policy {exports}"
    if options.policy:
        command += f" --reference {options.policy}"
    yield command + (" --prompts HELDOUT.jsonl" if options.prompts else "")


def describe_dpo(options: DPOOptions, run_dir: Path, metrics: Metrics) -> Iterator[str]:
    """Yields the figures on held-out pairs."""
    exports = run_dir / options.exports
    yield (
        f"on held-out pairs: accuracy {metrics['rewards/accuracies']:.3f}, margin "
        f"{metrics['rewards/margins']:.2f}, loss {metrics['loss']:.3f}; the policy is in {exports}"
    )
    more = " --prompts HELDOUT.jsonl" if options.preferences else ""
    yield f"next: textrl evaluate --run-dir {run_dir} --policy {exports}{more}"


def describe_evaluation(options: EvaluationOptions, run_dir: Path, metrics: Metrics) -> Iterator[RenderableType]:
    """Yields both models side by side."""
    reference, policy = name_models(options)
    yield from describe_comparison(metrics, reference=reference, policy=policy)
    yield f"completions and figures are in {run_dir / options.folder}"
    # The report draws PPO's curves, and would show another policy's figures beside them.
    if options.policy is None and (run_dir / "ppo").is_dir():
        yield f"next: textrl report --run-dir {run_dir}"


def describe_comparison(metrics: Metrics, *, reference: str = "SFT", policy: str = "PPO") -> Iterator[RenderableType]:
    """Yields the metrics of `compare`: means side by side, the win rates with their intervals, the KL."""
    table = Table("", title="held-out prompts", title_justify="left")
    for column in (reference, policy):
        table.add_column(column, justify="right")
    for label, name in COMPARISON.items():
        if f"{name}_sft" in metrics:
            table.add_row(label, f"{metrics[f'{name}_sft']:.3f}", f"{metrics[f'{name}_ppo']:.3f}")
    yield table
    for label, name in (("gold", "gold_win_rate"), ("the reward model", "proxy_win_rate")):
        if name in metrics:
            low, high = metrics[f"{name}_low"], metrics[f"{name}_high"]
            interval = f"95% interval {low:.1%} to {high:.1%}"
            yield f"{policy} beats {reference} under {label}: {metrics[name]:.1%} ({interval})"
    yield f"KL to {reference} {metrics['kl']:.1f} nats per completion"
