"""Critique and revision: replies written anew under one principle after the other (Bai et al. 2022, section 3.1)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from textrl_env.data.text import Prompt, as_completion
from textrl_env.reward_models.ai_feedback.constitution import Principle
from textrl_env.reward_models.ai_feedback.journal import Journal, Record, answer_all
from textrl_env.reward_models.ai_feedback.judges import Draft, Reviser


@dataclass(frozen=True)
class RevisionHistory:
    """A reply with all its revisions.

    Attributes:
        drafts: R of them, of which the first is the original reply.
        critiques: one of each draft.
        text: the reply after the last revision.
    """

    drafts: tuple[Draft, ...]
    critiques: tuple[str, ...]
    text: str

    @property
    def differs(self) -> bool:
        """True if more than white space was revised."""
        return self.text.split() != self.drafts[0].completion.split()


def revise_all(
    prompts: Sequence[Prompt],
    completions: Sequence[str],
    principles: Sequence[Sequence[Principle]],
    reviser: Reviser,
    *,
    log: Path,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[RevisionHistory] | None:
    """Revises each completion under each of its principles in turn; returns None if stopped before all are.

    Args:
        prompts: B prompts.
        completions: B replies.
        principles: B lists of equal length R.
        reviser: asked for what `log` lacks.
        log: JSONL; every critique and revision, with its principle.
        should_stop: asked before every batch.
    """
    journal = Journal(log, _find_fault)
    histories = [RevisionHistory((), (), completion) for completion in completions]
    n_rounds = len(principles[0]) if principles else 0
    for number in range(n_rounds):
        drafts = [
            Draft(prompt, history.text, row[number])
            for prompt, history, row in zip(prompts, histories, principles, strict=True)
        ]
        complete = answer_all(
            drafts,
            reviser,
            lambda batch: _make_records(batch, reviser),
            journal,
            description=f"revision {number + 1} of {n_rounds}",
            should_stop=should_stop,
        )
        if not complete:
            return None
        records = [journal[draft.key(reviser.identity)] for draft in drafts]
        histories = [
            RevisionHistory((*history.drafts, draft), (*history.critiques, record["critique"]), str(record["revision"]))
            for history, draft, record in zip(histories, drafts, records, strict=True)
        ]
    return histories


def demonstration_rows(histories: Sequence[RevisionHistory], reviser: str) -> list[dict[str, Any]]:
    """Returns rows for supervised fine-tuning, `prompt` and `completion`, and what they come from; no empty ones."""
    return [
        {
            "prompt": history.drafts[0].prompt,
            "completion": as_completion(history.drafts[0].prompt, history.text),
            **_describe_origin(history, reviser),
        }
        for history in histories
        if history.text.strip()
    ]


def preference_rows(histories: Sequence[RevisionHistory], reviser: str) -> list[dict[str, Any]]:
    """Returns the revision over the original, where they differ: `prompt`, `chosen`, `rejected`, as TRL reads them."""
    return [
        {
            "prompt": (prompt := history.drafts[0].prompt),
            "chosen": as_completion(prompt, history.text),
            "rejected": as_completion(prompt, history.drafts[0].completion),
            **_describe_origin(history, reviser),
        }
        for history in histories
        if history.differs
    ]


def _describe_origin(history: RevisionHistory, reviser: str) -> dict[str, Any]:
    return {
        "annotator": reviser,
        "principles": [draft.principle.id for draft in history.drafts],
        "critiques": list(history.critiques),
    }


def _make_records(drafts: Sequence[Draft], reviser: Reviser) -> list[Record]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return [
        {
            "key": draft.key(reviser.identity),
            "annotator": reviser.name,
            "principle": draft.principle.id,
            "prompt": draft.prompt,
            "completion": draft.completion,
            "critique": revision.critique,
            "revision": revision.text,
            "created_at": now,
        }
        for draft, revision in zip(drafts, reviser.revise(drafts), strict=True)
    ]


def _find_fault(record: Mapping[str, Any]) -> str | None:
    for name in ("critique", "revision"):
        if not isinstance(record.get(name), str):
            return f"{name!r} must be text, got {record.get(name)!r:.60}"
    return None
