"""`textrl ai-feedback`: preferences by a constitution, and how far their judge is to be believed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import tyro
from rich.box import SIMPLE
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from textrl_env.cli.judging import JudgeOptions, ReplyOptions
from textrl_env.errors import InputError, require_at_least
from textrl_env.pipeline.runs import StageStoppedError, write_jsonl
from textrl_env.training import Interrupt

if TYPE_CHECKING:
    from textrl_env.reward_models.feedback.store import Item


@dataclass(frozen=True)
class CollectAIFeedback:
    """A judge compares replies by a constitution; writes RUN/ai_feedback, and goes on where it was stopped."""

    folder: ClassVar[str] = "ai_feedback"

    judging: Annotated[JudgeOptions, tyro.conf.arg(name="")] = field(default_factory=JudgeOptions)
    """Who judges, and by what."""
    completions: Path | None = None
    """Replies that are there already, as for `textrl label`."""
    replies: Annotated[ReplyOptions, tyro.conf.arg(name="")] = field(default_factory=ReplyOptions)
    """Otherwise, replies that are sampled."""
    k: int = 2
    """Replies per prompt; every two are compared."""
    principles_per_pair: int = 1
    """Drawn for a pair; its label is their mean."""
    human: Path | None = None
    """People's preferences, to compare with and to mix in."""
    slices: tuple[str, ...] = ()
    """Columns of HUMAN to tell agreement by."""
    human_weight: float = 1.0
    """Weight of people's rows in mixed.jsonl."""
    ai_weight: float = 1.0
    """Weight of the judge's rows there."""

    def run(self, run_dir: Path, seed: int) -> dict[str, Any]:
        """Writes log.jsonl, preferences.jsonl and mixed.jsonl; the metrics are counts, and what the judge is worth."""
        require_at_least(2, k=self.k)
        require_at_least(0, human_weight=self.human_weight, ai_weight=self.ai_weight)
        if self.slices and self.human is None:
            raise InputError("slices: these are columns of the file that --human names; name it too")
        constitution = self.judging.principles(principles_per_pair=self.principles_per_pair)

        from textrl_env.reward_models.ai_feedback import (
            judge_pairs,
            label_rows,
            mixed_rows,
            read_human_pairs,
            report_judge,
        )

        human = (
            None
            if self.human is None
            else read_human_pairs(self.human, columns=self.slices, on_bad_row=self.replies.on_bad_row)
        )
        judge = self.judging.make_judge()
        items = self._items(run_dir, seed)
        pairs = [*items, *(human.items if human else ())]
        if not pairs:
            raise InputError("n_prompts: with 0 there is nothing to judge; give --completions or --human")
        # Generators of their own: more replies leave the questions about people's pairs as they are, and answered.
        principles = [
            row
            for stream, n in enumerate((len(items), len(pairs) - len(items)))
            for row in constitution.draw(n, np.random.default_rng([seed, stream]), each=self.principles_per_pair)
        ]
        out = run_dir / self.folder
        with Interrupt() as stop:
            verdicts = judge_pairs(pairs, principles, judge, out / "log.jsonl", should_stop=stop)
        if verdicts is None:
            message = (
                f"stopped before every pair was judged; the answers so far are in {out / 'log.jsonl'}, and the same "
                "command asks only the rest"
            )
            raise StageStoppedError(message, stop.exit_code)
        labels = label_rows(verdicts[: len(items)], judge.name)
        for name in ("preferences.jsonl", "mixed.jsonl"):  # An earlier run's would pass for this one's.
            (out / name).unlink(missing_ok=True)
        if items:
            write_jsonl(out / "preferences.jsonl", labels)
        report = report_judge(judge.name, verdicts, human, rng=np.random.default_rng(seed))
        if human is not None and items:
            mixed = mixed_rows(human.rows, labels, human_weight=self.human_weight, ai_weight=self.ai_weight)
            write_jsonl(out / "mixed.jsonl", mixed)
        return {
            "n_pairs": len(items),
            "n_labels": len(labels),
            "n_undecided": len(items) - len(labels),
            **report.as_dict(),
        }

    def outcome(self, run_dir: Path, metrics: dict[str, Any]) -> Iterator[RenderableType]:
        """Tables and lines for the terminal."""
        out = run_dir / self.folder
        bias = metrics["bias"]
        yield (
            f"judge {escape(metrics['judge'])}: the reply shown first is better with probability "
            f"{_shown(bias['first'])}, 0.5 if the place does not matter; the share of pairs whose winner changes with "
            f"the order is {_shown(bias['flipped'])}"
            + (f"; {bias['n_unclear']} pairs had an unclear answer" if bias["n_unclear"] else "")
        )
        if metrics["slices"]:
            yield _table(metrics["slices"])
        if metrics["n_pairs"]:
            yield (
                f"{metrics['n_labels']} labels of {metrics['n_pairs']} pairs are in {out / 'preferences.jsonl'} "
                f"({metrics['n_undecided']} more found neither reply better); the principle behind each is in log.jsonl"
            )
            made = "preferences.jsonl"
            if self.human is not None:
                made = "mixed.jsonl"
                yield f"people's rows and the judge's, with weights, are in {out / made}"
            yield f"next: textrl reward-model --run-dir {run_dir} --preferences {out / made}"

    def _items(self, run_dir: Path, seed: int) -> "list[Item]":
        from textrl_env.reward_models.feedback.store import make_items, read_items

        if self.completions is not None:
            return read_items(self.completions, "pair", on_bad_row=self.replies.on_bad_row)
        sampled = self.replies.sampled(run_dir, seed, k=self.k)
        return [item for prompt, texts in sampled for item in make_items("pair", prompt, texts)]


def _table(slices: list[dict[str, Any]]) -> Table:
    table = Table("agreement with people", box=SIMPLE, pad_edge=False)
    for column in ("pairs", "accuracy", "kappa"):
        table.add_column(column, justify="right", no_wrap=True)
    for each in slices:
        name = "all" if each["column"] == "all" else f"{each['column']} {each['value']}"
        table.add_row(escape(name), str(each["n"]), _shown(each["accuracy"]), _shown(each["kappa"]))
    return table


def _shown(measured: dict[str, float | None]) -> str:
    value, low, high = ("-" if measured[name] is None else f"{measured[name]:.2f}" for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"
