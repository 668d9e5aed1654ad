"""Judgements as labels: asked for, kept in a log, and written as preferences in TRL's columns."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from textrl_env.data.text import as_completion
from textrl_env.errors import require_at_least
from textrl_env.reward_models.ai_feedback.constitution import Principle
from textrl_env.reward_models.ai_feedback.journal import Journal, Record, answer_all
from textrl_env.reward_models.ai_feedback.judges import Judge, JudgeQuestion, JudgeVerdict
from textrl_env.reward_models.feedback.store import Item
from textrl_env.reward_models.preferences import read_weight

Label = dict[str, Any]


def judge_pairs(
    items: Sequence[Item],
    principles: Sequence[Sequence[Principle]],
    judge: Judge,
    log: Path,
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[list[JudgeVerdict]] | None:
    """Has pairs of replies judged under their principles; returns each pair's verdicts, None if stopped before all are.

    Args:
        items: N items of the task "pair".
        principles: N lists of equal length R, such as `Constitution.draw` returns.
        judge: asked for what `log` lacks, in both orders.
        log: JSONL; see `judge_all`.
        should_stop: asked before every batch.

    Raises:
        InputError: see `judge_all`.
    """
    verdicts = judge_all(build_questions(items, principles), judge, log, should_stop=should_stop)
    return None if verdicts is None else group_by_pair(verdicts, len(principles[0]) if principles else 1)


def build_questions(items: Sequence[Item], principles: Sequence[Sequence[Principle]]) -> list[JudgeQuestion]:
    """Returns one question for each principle of each pair; items of the task "pair"."""
    return [
        JudgeQuestion(item.prompt, item.completions[0], item.completions[1], principle)
        for item, row in zip(items, principles, strict=True)
        for principle in row
    ]


def judge_all(
    questions: Sequence[JudgeQuestion], judge: Judge, log: Path, *, should_stop: Callable[[], bool] = lambda: False
) -> list[JudgeVerdict] | None:
    """Has every question answered in both orders; returns None if stopped before all are.

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
    journal = Journal(log, _find_fault)

    def answer(batch: list[JudgeQuestion]) -> list[Record]:
        return [_make_record(verdict, judge) for verdict in judge_both_orders(judge, batch)]

    if not answer_all(questions, judge, answer, journal, description="AI feedback", should_stop=should_stop):
        return None
    records = [journal[question.key(judge.identity)] for question in questions]
    return [
        JudgeVerdict(question, _read_probability(record["forward"]), _read_probability(record["backward"]))
        for question, record in zip(questions, records, strict=True)
    ]


def judge_both_orders(judge: Judge, questions: Sequence[JudgeQuestion]) -> list[JudgeVerdict]:
    """Asks in both orders (as Lee et al. 2023, "RLAIF", section 3.1, against position bias)."""
    answers = judge.prefers_first([*questions, *(question.swapped for question in questions)]).tolist()
    n = len(questions)
    return [JudgeVerdict(*row) for row in zip(questions, answers[:n], answers[n:], strict=True)]


def group_by_pair(verdicts: Sequence[JudgeVerdict], n_principles: int) -> list[list[JudgeVerdict]]:
    """Puts the verdicts on each pair together, in the order of `build_questions`: `n_principles` of every pair."""
    return [list(verdicts[start : start + n_principles]) for start in range(0, len(verdicts), n_principles)]


def compute_pair_margin(pair: Sequence[JudgeVerdict]) -> float:
    """Returns the mean of `JudgeVerdict.margin` over a pair's principles, in [-1/2, 1/2]."""
    # Summed exactly: what cancels out is a tie, not the rest of a rounding.
    return math.fsum(verdict.margin for verdict in pair) / len(pair)


def label_rows(pairs: Iterable[Sequence[JudgeVerdict]], annotator: str) -> list[Label]:
    """Returns a row for each pair of which one reply is better: `prompt`, `chosen`, `rejected`, as TRL reads them.

    Further columns: `soft_label`, how likely chosen is the better one, in (0.5, 1]; `annotator`, the judge;
    `principle`, the id of the principle that decided, or several joined by "+".
    """
    rows = []
    for pair in pairs:
        question, margin = pair[0].question, compute_pair_margin(pair)
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
                    "principle": "+".join(verdict.question.principle.id for verdict in pair),
                }
            )
    return rows


def mixed_rows(
    human: Iterable[Mapping[str, Any]], ai: Iterable[Mapping[str, Any]], *, human_weight: float, ai_weight: float
) -> list[Label]:
    """Returns preferences of people and judge in one list, each row with a `weight`: its kind's times its own, if any.

    Raises:
        InputError: a weight that is not a number of 0 or more.
    """
    require_at_least(0, human_weight=human_weight, ai_weight=ai_weight)
    return [*_weight_rows(human, human_weight), *_weight_rows(ai, ai_weight)]


def _weight_rows(rows: Iterable[Mapping[str, Any]], weight: float) -> list[Label]:
    labels = []
    for row in rows:
        labels.append(dict(row) | {"weight": weight * read_weight(row)})
    return labels


def _make_record(verdict: JudgeVerdict, judge: Judge) -> Record:
    question = verdict.question
    return {
        "key": question.key(judge.identity),
        "annotator": judge.name,
        "principle": question.principle.id,
        "principle_text": question.principle.text,
        "prompt": question.prompt,
        "first": question.first,
        "second": question.second,
        "forward": None if math.isnan(verdict.forward) else verdict.forward,
        "backward": None if math.isnan(verdict.backward) else verdict.backward,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _find_fault(record: Mapping[str, Any]) -> str | None:
    for name in ("forward", "backward"):
        value = record.get(name, "")
        if value is not None and not (isinstance(value, int | float) and 0 <= value <= 1):
            return f"{name!r} must be a probability or null, got {value!r:.60}"
    return None


def _read_probability(value: float | None) -> float:
    return math.nan if value is None else float(value)
