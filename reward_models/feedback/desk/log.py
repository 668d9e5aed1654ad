"""The append-only log of an annotation: events, and what follows from them."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from textrl_env.data import text_fault
from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.desk.judgements import Item, Judgement, judgement_of

Kind = Literal["label", "skip", "undo"]
MAX_NAME = 40
MAX_SECONDS = 86_400.0


class Key(NamedTuple):
    """One answer that one person owes: round 0 is the first time an item is asked, round 1 its hidden repeat."""

    item: str
    annotator: str
    round: int


@dataclass(frozen=True)
class Event:
    """One row of the log.

    Attributes:
        key: what it is about.
        revision: 1, 2, 3, … within a key; labels and skips are odd, an undo takes the one before it back and is even.
        kind: of event.
        judgement: empty for an undo.
        shown: places on the screen -> indices in the item; empty where nothing was shown.
        seconds: active time the annotator took.
        created_at: UTC, ISO 8601.
        submission: chosen by the client; the same one again is the same event again.
        id: position in the log; 0 before it is written.
    """

    key: Key
    revision: int
    kind: Kind
    judgement: Judgement
    shown: tuple[int, ...]
    seconds: float
    created_at: str
    submission: str
    id: int = 0


def name_fault(name: Any) -> str | None:
    """What keeps a value from being an annotator's name."""
    if fault := text_fault(name):
        return f"a name {fault}"
    if not 1 <= len(name) <= MAX_NAME or name != name.strip() or not name.isprintable():
        return f"a name has 1 to {MAX_NAME} printable characters, no space at either end; got {name!r:.60}"
    return None


def event_of(values: Mapping[str, Any], items: Mapping[str, Item]) -> Event:
    """From values of unknown origin, `judgement` already decoded; InputError says which is wrong."""
    item = items.get(values["item"]) if isinstance(values["item"], str) else None
    if item is None:
        raise InputError(f"there is no item {values['item']!r:.60}")
    if fault := name_fault(values["annotator"]):
        raise InputError(fault)
    kind, revision, rounds = values["kind"], values["revision"], values["round"]
    if kind not in get_args(Kind):
        raise InputError(f"'kind' must be one of {', '.join(get_args(Kind))}, got {kind!r:.40}")
    if type(revision) is not int or revision < 1 or (revision % 2 == 0) is not (kind == "undo"):
        raise InputError(
            f"'revision' must be odd, or even for an undo, and 1 at least; got {revision!r:.40} for {kind}"
        )
    if type(rounds) is not int or rounds not in (0, 1):
        raise InputError(f"'round' must be 0 or 1, got {rounds!r:.40}")
    if not isinstance(values["judgement"], Mapping):
        raise InputError(f"'judgement' must be an object, got {type(values['judgement']).__name__}")
    k = len(item.completions)
    judgement = judgement_of(values["judgement"], item.task, k, answered=kind == "label")
    shown, seconds = values["shown"], values["seconds"]
    if not isinstance(shown, list | tuple) or (shown and sorted(map(repr, shown)) != sorted(map(repr, range(k)))):
        raise InputError(f"'shown' must be an order of {k} completions or empty, got {shown!r:.60}")
    if type(seconds) not in (int, float) or not (math.isfinite(seconds) and 0 <= seconds <= MAX_SECONDS):
        raise InputError(f"'seconds' must be a number from 0 to {MAX_SECONDS:.0f}, got {seconds!r:.40}")
    for name in ("created_at", "submission"):
        if not isinstance(values[name], str) or not re.fullmatch(r"[-+:.\w]{1,64}", values[name], re.ASCII):
            raise InputError(
                f"{name!r} must be 1 to 64 letters, digits, '-', '+', ':' and '.'; got {values[name]!r:.80}"
            )
    key = Key(values["item"], values["annotator"], rounds)
    return Event(
        key, revision, kind, judgement, tuple(shown), float(seconds), values["created_at"], values["submission"],
        values.get("id", 0),
    )  # fmt: skip


@dataclass
class Log:
    """What follows from the events so far; they are applied one by one, in the order of the log.

    Attributes:
        last: per key its newest event.
        current: per annotator what stands, labels and skips, oldest first.
        undone: per annotator what was taken back and not answered again, oldest first.
        annotators_of: per item, who answered it (a skip is no answer).
        submissions: every event by its client's name for it.
        n_answers: labels of round 0 that stand.
        last_id: of the newest event.
    """

    last: dict[Key, Event] = field(default_factory=dict)
    current: dict[str, dict[Key, Event]] = field(default_factory=dict)
    undone: dict[str, dict[Key, Event]] = field(default_factory=dict)
    annotators_of: dict[str, set[str]] = field(default_factory=dict)
    submissions: dict[str, Event] = field(default_factory=dict)
    n_answers: int = 0
    last_id: int = 0

    def next_revision(self, key: Key) -> int:
        return self.last[key].revision + 1 if key in self.last else 1

    def apply(self, events: Iterable[Event]) -> None:
        """Raises InputError at an event that does not follow from those before it."""
        for event in events:
            key = event.key
            if event.revision != self.next_revision(key):
                raise InputError(f"event {event.id}: revision {event.revision} of {key}, expected its next one")
            self.last[key], self.submissions[event.submission], self.last_id = event, event, event.id
            current, undone = self.current.setdefault(key.annotator, {}), self.undone.setdefault(key.annotator, {})
            answered = self.annotators_of.setdefault(key.item, set())
            if event.kind == "undo":
                del current[key]
                undone[key] = event
            else:
                undone.pop(key, None)
                current[key] = event
            before = len(answered)
            if key.round == 0 and event.kind == "label":
                answered.add(key.annotator)
            elif key.round == 0:
                answered.discard(key.annotator)
            self.n_answers += len(answered) - before

    def labels(self, *, round: int = 0) -> list[Event]:
        """The labels that stand, oldest first."""
        found = [event for events in self.current.values() for event in events.values()]
        return sorted((e for e in found if e.kind == "label" and e.key.round == round), key=lambda event: event.id)
