"""Judgements as labels: asked for, kept in a log, and written as preferences in TRL's columns."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from textrl_env.data.text import as_completion
from textrl_env.errors import InputError, require_at_least
from textrl_env.reward_models.ai_feedback.answering import answer_all
from textrl_env.reward_models.ai_feedback.journal import Journal, Record
from textrl_env.reward_models.ai_feedback.judge import Judge, Judged, Question, judged
from textrl_env.reward_models.preferences import number, weight_fault

Row = dict[str, Any]


def judge_all(
    questions: Sequence[Question], judge: Judge, log: Path, *, should_stop: Callable[[], bool] = lambda: False
) -> list[Judged] | None:
    """Has every question answered in both orders; None if stopped before all are.

    Args:
        questions: any number.
        judge: asked for what `log` lacks.
        log: JSONL, to which every answer is added at once: the principle that decided, both orders' probabilities,
            judge and time. A rerun asks only what is not there.
        should_stop: asked before every batch.

    Raises:
        InputError: a question that the judge cannot be asked, before any is; a damaged log; an endpoint's refusal.
    """
    judge.check(questions)
    journal = Journal(log, _fault)
    finished = answer_all(
        questions, judge, lambda batch: [_record(each, judge) for each in judged(judge, batch)], journal,
        description="AI feedback", should_stop=should_stop,
    )  # fmt: skip
    if not finished:
        return None
    records = [journal[question.key(judge.identity)] for question in questions]
    return [
        Judged(question, _number(record["forward"]), _number(record["backward"]))
        for question, record in zip(questions, records, strict=True)
    ]


def by_pair(judgements: Sequence[Judged], n_principles: int) -> list[Sequence[Judged]]:
    """The judgements of each pair together, in the order of `questions_of`: `n_principles` of every pair."""
    return [judgements[start : start + n_principles] for start in range(0, len(judgements), n_principles)]


def margin_of(pair: Sequence[Judged]) -> float:
    """Of a pair judged by some principles: the mean of `Judged.margin`, in [-1/2, 1/2]."""
    # Summed exactly: what cancels out is a tie, not the rest of a rounding.
    return math.fsum(each.margin for each in pair) / len(pair)


def label_rows(pairs: Iterable[Sequence[Judged]], annotator: str) -> list[Row]:
    """A row for each pair of which one reply is better: `prompt`, `chosen`, `rejected`, as TRL reads them.

    Further columns: `soft_label`, how likely chosen is the better one, in (0.5, 1]; `annotator`, the judge;
    `principle`, the id of the principle that decided, or several joined by "+".
    """
    rows = []
    for pair in pairs:
        question, margin = pair[0].question, margin_of(pair)
        if (label := 0.5 + abs(margin)) > 0.5:
            replies = (question.first, question.second) if margin > 0 else (question.second, question.first)
            chosen, rejected = (as_completion(question.prompt, reply) for reply in replies)
            rows.append(
                {
                    "prompt": question.prompt,
                    "chosen": chosen,
                    "rejected": rejected,
                    "soft_label": label,
                    "annotator": annotator,
                    "principle": "+".join(each.question.principle.id for each in pair),
                }
            )
    return rows


def mixed_rows(
    human: Iterable[Mapping[str, Any]], ai: Iterable[Mapping[str, Any]], *, human_weight: float, ai_weight: float
) -> list[Row]:
    """Both kinds of preferences in one list, each row with a `weight`: its kind's times its own, if it has one.

    Raises InputError: a weight that is not a number of 0 or more.
    """
    require_at_least(0, human_weight=human_weight, ai_weight=ai_weight)
    return [*_weighted(human, human_weight), *_weighted(ai, ai_weight)]


def _weighted(rows: Iterable[Mapping[str, Any]], weight: float) -> list[Row]:
    weighted = []
    for row in rows:
        if fault := weight_fault(row):
            raise InputError(fault)
        own = 1.0 if row.get("weight") is None else number(row["weight"])
        weighted.append(dict(row) | {"weight": weight * own})
    return weighted


def _record(each: Judged, judge: Judge) -> Record:
    question = each.question
    return {
        "key": question.key(judge.identity), "annotator": judge.name, "principle": question.principle.id,
        "principle_text": question.principle.text, "prompt": question.prompt, "first": question.first,
        "second": question.second,
        "forward": _or_null(each.forward), "backward": _or_null(each.backward),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip


def _fault(record: Mapping[str, Any]) -> str | None:
    for name in ("forward", "backward"):
        value = record.get(name, "")
        if value is not None and not (isinstance(value, int | float) and 0 <= value <= 1):
            return f"{name!r} must be a probability or null, got {value!r:.60}"
    return None


def _or_null(probability: float) -> float | None:
    return None if math.isnan(probability) else probability


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
