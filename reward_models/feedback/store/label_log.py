"""The append-only log of an annotation: events, and what follows from them."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from textrl_env.data import find_text_fault
from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.store.items import Item
from textrl_env.reward_models.feedback.store.judgements import Judgement

EventKind = Literal["label", "skip", "undo"]
MAX_NAME = 40
MAX_SECONDS = 86_400.0


class AnswerKey(NamedTuple):
    """An answer that a person owes: round 0 is the first time an item is asked, round 1 its hidden repeat."""

    item: str
    annotator: str
    round: int


@dataclass(frozen=True)
class LabelEvent:
    """A row of the log.

    Attributes:
        key: item, annotator and round that the event is about.
        revision: 1, 2, 3, … within a key; labels and skips are odd, an undo takes the one before it back and is even.
        kind: `label`, `skip` or `undo`.
        judgement: empty for a skip and an undo.
        order: places on the screen -> indices in the item; empty where nothing was on the screen.
        seconds: active time the annotator took.
        created_at: UTC, ISO 8601.
        submission: chosen by the client; the same one again is the same event again.
        id: position in the log; 0 before it is written.
    """

    key: AnswerKey
    revision: int
    kind: EventKind
    judgement: Judgement
    order: tuple[int, ...]
    seconds: float
    created_at: str
    submission: str
    id: int = 0

    @classmethod
    def from_values(cls, values: Mapping[str, Any], items: Mapping[str, Item]) -> "LabelEvent":
        """Makes an event from values of unknown origin, `judgement` already decoded; InputError says which is wrong."""
        item = items.get(values["item"]) if isinstance(values["item"], str) else None
        if item is None:
            raise InputError(f"there is no item {values['item']!r:.60}")
        if fault := name_fault(values["annotator"]):
            raise InputError(fault)
        _check_position(values["kind"], values["revision"], values["round"])
        if not isinstance(values["judgement"], Mapping):
            raise InputError(f"'judgement' must be an object, got {type(values['judgement']).__name__}")
        k = len(item.completions)
        judgement = Judgement.from_values(values["judgement"], item.task, k, is_answer=values["kind"] == "label")
        _check_circumstances(values, k)
        return cls(
            key=AnswerKey(values["item"], values["annotator"], values["round"]),
            revision=values["revision"],
            kind=values["kind"],
            judgement=judgement,
            order=tuple(values["shown"]),
            seconds=float(values["seconds"]),
            created_at=values["created_at"],
            submission=values["submission"],
            id=values.get("id", 0),
        )


def name_fault(name: Any) -> str | None:
    """Says why a value cannot be an annotator's name; None where it can."""
    if fault := find_text_fault(name):
        return f"a name {fault}"
    if not 1 <= len(name) <= MAX_NAME or name != name.strip() or not name.isprintable():
        return f"a name has 1 to {MAX_NAME} printable characters, no space at either end; got {name!r:.60}"
    return None


@dataclass
class LabelLog:
    """The state that follows from the events so far; they are applied one by one, in the order of the log.

    Attributes:
        last: per key its newest event.
        current: per annotator what stands, labels and skips, oldest first.
        undone: per annotator what was taken back and not answered again, oldest first.
        annotators_of: per item, who answered it (a skip is no answer).
        submissions: every event by its client's name for it.
        n_answers: labels of round 0 that stand.
        last_id: of the newest event.
    """

    last: dict[AnswerKey, LabelEvent] = field(default_factory=dict)
    current: dict[str, dict[AnswerKey, LabelEvent]] = field(default_factory=dict)
    undone: dict[str, dict[AnswerKey, LabelEvent]] = field(default_factory=dict)
    annotators_of: dict[str, set[str]] = field(default_factory=dict)
    submissions: dict[str, LabelEvent] = field(default_factory=dict)
    n_answers: int = 0
    last_id: int = 0

    def next_revision(self, key: AnswerKey) -> int:
        """Returns the revision that the next event of `key` must have, 1 for the first."""
        return self.last[key].revision + 1 if key in self.last else 1

    def apply(self, events: Iterable[LabelEvent]) -> None:
        """Takes in further events; InputError at one that does not follow from those before it."""
        for event in events:
            key = event.key
            if event.revision != self.next_revision(key):
                raise InputError(f"event {event.id}: revision {event.revision} of {key}, expected its next one")
            self.last[key], self.submissions[event.submission], self.last_id = event, event, event.id
            current, undone = self.current.setdefault(key.annotator, {}), self.undone.setdefault(key.annotator, {})
            annotators = self.annotators_of.setdefault(key.item, set())
            if event.kind == "undo":
                del current[key]
                undone[key] = event
            else:
                undone.pop(key, None)
                current[key] = event
            before = len(annotators)
            if key.round == 0 and event.kind == "label":
                annotators.add(key.annotator)
            elif key.round == 0:
                annotators.discard(key.annotator)
            self.n_answers += len(annotators) - before

    def labels(self, *, round: int = 0) -> list[LabelEvent]:
        """Returns the labels of a round that stand, oldest first."""
        standing = [event for events in self.current.values() for event in events.values()]
        labels = (event for event in standing if event.kind == "label" and event.key.round == round)
        return sorted(labels, key=lambda event: event.id)


def _check_position(kind: Any, revision: Any, round: Any) -> None:
    if kind not in get_args(EventKind):
        raise InputError(f"'kind' must be one of {', '.join(get_args(EventKind))}, got {kind!r:.40}")
    if type(revision) is not int or revision < 1 or (revision % 2 == 0) is not (kind == "undo"):
        raise InputError(
            f"'revision' must be odd, or even for an undo, and 1 at least; got {revision!r:.40} for {kind}"
        )
    if type(round) is not int or round not in (0, 1):
        raise InputError(f"'round' must be 0 or 1, got {round!r:.40}")


def _check_circumstances(values: Mapping[str, Any], k: int) -> None:
    order, seconds = values["shown"], values["seconds"]
    if not isinstance(order, list | tuple) or (order and sorted(map(repr, order)) != sorted(map(repr, range(k)))):
        raise InputError(f"'shown' must be an order of {k} completions or empty, got {order!r:.60}")
    if type(seconds) not in (int, float) or not (math.isfinite(seconds) and 0 <= seconds <= MAX_SECONDS):
        raise InputError(f"'seconds' must be a number from 0 to {MAX_SECONDS:.0f}, got {seconds!r:.40}")
    for name in ("created_at", "submission"):
        if not isinstance(values[name], str) or not re.fullmatch(r"[-+:.\w]{1,64}", values[name], re.ASCII):
            raise InputError(
                f"{name!r} must be 1 to 64 letters, digits, '-', '+', ':' and '.'; got {values[name]!r:.80}"
            )
