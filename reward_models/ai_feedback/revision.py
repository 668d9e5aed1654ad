"""Critique and revision: replies written anew under one principle after the other (Bai et al. 2022, section 3.1)."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from textrl_env.data.text import Prompt, as_completion
from textrl_env.reward_models.ai_feedback.answering import Answerer, answer_all
from textrl_env.reward_models.ai_feedback.constitution import Principle
from textrl_env.reward_models.ai_feedback.journal import Journal, Record
from textrl_env.reward_models.ai_feedback.judge import key_of
from textrl_env.reward_models.ai_feedback.requests import Request, critique, revision

Writer = Callable[[Sequence[Request]], list[str]]
"""Writes an answer to each request: a local model, or an endpoint."""


@dataclass(frozen=True)
class Draft:
    """A reply that is to be criticised and revised under a principle."""

    prompt: Prompt
    completion: str
    principle: Principle

    def key(self, reviser: str) -> str:
        """Names the draft to a reviser of that identity, in whatever run it is asked."""
        return key_of("revise", reviser, self.principle, self.prompt, self.completion)


@dataclass(frozen=True)
class Revision:
    """What is wrong with a draft, and the reply written anew."""

    critique: str
    text: str


class Reviser(Answerer, Protocol):
    """Writes replies anew; a language model, an endpoint, or rules."""

    def revise(self, drafts: Sequence[Draft]) -> list[Revision]:
        """One for each draft."""


@dataclass(frozen=True)
class LanguageModelReviser:
    """Has a language model write first the critiques, then the replies."""

    write: Writer
    name: str
    identity: str
    batch_size: int
    workers: int = 1

    def revise(self, drafts: Sequence[Draft]) -> list[Revision]:
        """A reply begins with the white space that the draft begins with; an empty answer leaves the draft."""
        faults = self.write([critique(draft.prompt, draft.completion, draft.principle) for draft in drafts])
        texts = self.write(
            [
                revision(draft.prompt, draft.completion, draft.principle, fault)
                for draft, fault in zip(drafts, faults, strict=True)
            ]
        )
        return [
            Revision(fault.strip(), _spaced(draft.completion, text) if text.strip() else draft.completion)
            for draft, fault, text in zip(drafts, faults, texts, strict=True)
        ]


@dataclass(frozen=True)
class Revised:
    """A reply with all its revisions: the drafts, of which the first is the original, and the last text."""

    drafts: tuple[Draft, ...]
    critiques: tuple[str, ...]
    text: str

    @property
    def changed(self) -> bool:
        """Whether more than white space did."""
        return self.text.split() != self.drafts[0].completion.split()


def revise_all(
    prompts: Sequence[Prompt],
    completions: Sequence[str],
    principles: Sequence[Sequence[Principle]],
    reviser: Reviser,
    log: Path,
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Revised] | None:
    """Revises each completion under each of its principles in turn; None if stopped before all are.

    Args:
        prompts, completions: B each.
        principles: B lists of equal length R.
        reviser: asked for what `log` lacks.
        log: JSONL; every critique and revision, with its principle.
        should_stop: asked before every batch.
    """
    journal = Journal(log, _fault)
    histories: list[list[Draft]] = [[] for _ in prompts]
    critiques: list[list[str]] = [[] for _ in prompts]
    texts = list(completions)
    n_rounds = len(principles[0]) if principles else 0
    for number in range(n_rounds):
        drafts = [
            Draft(prompt, text, own[number]) for prompt, text, own in zip(prompts, texts, principles, strict=True)
        ]
        description = f"revision {number + 1} of {n_rounds}"
        if not answer_all(
            drafts, reviser, lambda batch: _records(batch, reviser), journal, description=description,
            should_stop=should_stop,
        ):  # fmt: skip
            return None
        for index, draft in enumerate(drafts):
            record = journal[draft.key(reviser.identity)]
            histories[index].append(draft)
            critiques[index].append(record["critique"])
            texts[index] = record["revision"]
    return [Revised(tuple(h), tuple(c), t) for h, c, t in zip(histories, critiques, texts, strict=True)]


def demonstration_rows(revised: Sequence[Revised], reviser: str) -> list[dict[str, Any]]:
    """A row each for supervised fine-tuning, but for empty ones: `prompt`, `completion`; and what it was made of."""
    return [
        {
            "prompt": each.drafts[0].prompt,
            "completion": as_completion(each.drafts[0].prompt, each.text),
            **_origin(each, reviser),
        }
        for each in revised
        if each.text.strip()
    ]


def preference_rows(revised: Sequence[Revised], reviser: str) -> list[dict[str, Any]]:
    """The revision over the original, where they differ: `prompt`, `chosen`, `rejected`, as TRL reads them."""
    return [
        {
            "prompt": (prompt := each.drafts[0].prompt),
            "chosen": as_completion(prompt, each.text),
            "rejected": as_completion(prompt, each.drafts[0].completion),
            **_origin(each, reviser),
        }
        for each in revised
        if each.changed
    ]


def _origin(each: Revised, reviser: str) -> dict[str, Any]:
    return {
        "annotator": reviser,
        "principles": [draft.principle.id for draft in each.drafts],
        "critiques": list(each.critiques),
    }


def _records(drafts: Sequence[Draft], reviser: Reviser) -> list[Record]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return [
        {
            "key": draft.key(reviser.identity), "annotator": reviser.name, "principle": draft.principle.id,
            "prompt": draft.prompt, "completion": draft.completion, "critique": made.critique, "revision": made.text,
            "created_at": now,
        }
        for draft, made in zip(drafts, reviser.revise(drafts), strict=True)
    ]  # fmt: skip


def _fault(record: Mapping[str, Any]) -> str | None:
    for name in ("critique", "revision"):
        if not isinstance(record.get(name), str):
            return f"{name!r} must be text, got {record.get(name)!r:.60}"
    return None


def _spaced(draft: str, text: str) -> str:
    """The text with the draft's white space in front, and without a fence that the model put round it."""
    fenced = re.fullmatch(r"\s*(`{3,})\n(.*)\n\1\s*", text, re.DOTALL)
    return draft[: len(draft) - len(draft.lstrip())] + (fenced[2] if fenced else text).strip()
