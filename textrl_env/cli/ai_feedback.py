"""Lines and tables for the terminal after `textrl ai-feedback` and `textrl revise`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from textrl_env.pipeline.ai_feedback import AIFeedbackOptions, RevisionOptions


def describe_ai_feedback(
    options: AIFeedbackOptions, run_dir: Path, metrics: dict[str, Any]
) -> Iterator[RenderableType]:
    """Yields what the judge is worth, and where its labels are."""
    out, bias = run_dir / options.folder, metrics["bias"]
    unclear = f"; {bias['n_unclear']} pairs had an unclear answer" if bias["n_unclear"] else ""
    yield (
        f"judge {escape(metrics['judge'])}: the reply shown first is better with probability "
        f"{_format_estimate(bias['first'])}, 0.5 if the place does not matter; the share of pairs whose winner "
        f"changes with the order is {_format_estimate(bias['flipped'])}{unclear}"
    )
    if metrics["slices"]:
        yield _make_agreement_table(metrics["slices"])
    if metrics["n_pairs"]:
        yield (
            f"{metrics['n_labels']} labels of {metrics['n_pairs']} pairs are in {out / 'preferences.jsonl'} "
            f"({metrics['n_undecided']} more found neither reply better); the principle behind each is in log.jsonl"
        )
        name = "preferences.jsonl"
        if options.human is not None:
            name = "mixed.jsonl"
            yield f"people's rows and the judge's, with weights, are in {out / name}"
        yield f"next: textrl reward-model --run-dir {run_dir} --preferences {out / name}"


def describe_revision(options: RevisionOptions, run_dir: Path, metrics: dict[str, Any]) -> Iterator[str]:
    """Yields how many replies were changed, and where they are."""
    out = run_dir / options.folder
    yield (
        f"{metrics['n_changed']} of {metrics['n_replies']} replies were changed; they are in "
        f"{out / 'demonstrations.jsonl'}, and beside the originals in {out / 'preferences.jsonl'}"
    )
    model = options.replies.policy or run_dir / "sft"
    yield (
        f"next: textrl sft --model {model} --demonstrations {out / 'demonstrations.jsonl'} --run-dir "
        f"{run_dir.with_name(run_dir.name + '-revised')}"
    )


def _make_agreement_table(slices: list[dict[str, Any]]) -> Table:
    table = Table("agreement with people", box=SIMPLE, pad_edge=False)
    for column in ("pairs", "accuracy", "kappa"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in slices:
        name = "all" if row["column"] == "all" else f"{row['column']} {row['value']}"
        table.add_row(escape(name), str(row["n"]), _format_estimate(row["accuracy"]), _format_estimate(row["kappa"]))
    return table


def _format_estimate(estimate: dict[str, float | None]) -> str:
    value, low, high = ("-" if estimate[name] is None else f"{estimate[name]:.2f}" for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"
