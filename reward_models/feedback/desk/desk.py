"""The labelling desk without its surface: hands out questions, takes answers and takes them back."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from statistics import median
from typing import Any

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.desk.assignment import Plan, item_order, next_key, shown_order
from textrl_env.reward_models.feedback.desk.judgements import Item
from textrl_env.reward_models.feedback.desk.log import Event, Key, Log, event_of
from textrl_env.reward_models.feedback.desk.store import Store

RESERVED_SECONDS = 600.0
_JUDGEMENT = {"ranks", "rating", "tags", "reasons", "comment"}
_REQUIRED = {"item", "round", "revision", "kind", "seconds", "submission"}


class Conflict(InputError):
    """An answer that does not fit what stands: given elsewhere meanwhile, taken back, or never asked for."""


@dataclass(frozen=True)
class Question:
    """An item as one annotator sees it.

    Attributes:
        key: what the answer will be about.
        revision: of the answer.
        item: prompt and completions.
        order: places on the screen -> indices in the item.
    """

    key: Key
    revision: int
    item: Item
    order: tuple[int, ...]

    @property
    def completions(self) -> list[str]:
        """In the order they are shown."""
        return [self.item.completions[index] for index in self.order]


@dataclass(frozen=True)
class Progress:
    """How far things are.

    Attributes:
        own: answers of the annotator that stand, repeats and skips included.
        done: first-round answers of everybody, at most `wanted`.
        wanted: items times annotators per item.
        seconds: the annotator's median over the last 20 answers; None before the first.
    """

    own: int
    done: int
    wanted: int
    seconds: float | None


class Desk:
    """Questions out, answers in; one per process, on any number of annotators.

    Args:
        store: where answers go.
        plan: overlap, repeats, order.
        clock: seconds, for reservations.
    """

    def __init__(self, store: Store, plan: Plan, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.store, self.log = store, Log()
        # The seed decides how shown places are read back: it stays what it was when the database was begun.
        self.plan = replace(plan, seed=store.setting("seed", plan.seed))
        self._order: list[str] = []
        self._first_open = 0
        self._clock = clock
        self._reserved: dict[str, tuple[str, float]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Takes in what was written since, by this process or another."""
        events = self.store.events(self.log.last_id)
        if len(self._order) < len(self.store.items):
            self._order = item_order(list(self.store.items), self.store.disagreement, self.plan.seed)
            self._first_open = 0
        if any(event.kind == "undo" for event in events):
            self._first_open = 0
        for event in events:
            if self._reserved.get(event.key.annotator, ("",))[0] == event.key.item:
                del self._reserved[event.key.annotator]
        self.log.apply(events)

    def question(self, annotator: str) -> Question | None:
        """What the annotator is asked now: the same until it is answered; None when there is nothing left."""
        while self._first_open < len(self._order) and self._complete(self._order[self._first_open]):
            self._first_open += 1
        now = self._clock()
        self._reserved = {name: (item, until) for name, (item, until) in self._reserved.items() if until > now}
        held = self._reserved.get(annotator)
        others: dict[str, list[str]] = {}
        for name, (taken, _) in self._reserved.items():
            others.setdefault(taken, []).append(name)
        still_open = (self._order[index] for index in range(self._first_open, len(self._order)))
        order = chain([held[0]] if held else [], still_open)
        key = next_key(self.log, order, annotator, self.plan, others)
        if key is None:
            return None
        self._reserved[annotator] = (key.item, now + RESERVED_SECONDS)
        item = self.store.items[key.item]
        order_shown = shown_order(self.plan.seed, key, len(item.completions))
        return Question(key, self.log.next_revision(key), item, order_shown)

    def answer(self, annotator: str, posted: Mapping[str, Any]) -> Event:
        """The event that an answer makes, not written yet; its judgement is in the order shown, the event's is not.

        Args:
            annotator: who answers.
            posted: `item`, `round`, `revision`, `kind` (`label` or `skip`), `seconds`, `submission`, and what
                `judgement_of` takes.

        Raises:
            Conflict: the question stands no longer as it was asked.
            InputError: a value is not what it should be.
        """
        if (missing := _REQUIRED - set(posted)) or (set(posted) - _REQUIRED - _JUDGEMENT):
            wanted, found = ", ".join(sorted(_REQUIRED)), ", ".join(sorted(map(str, posted)))
            raise InputError(f"expected {wanted} and a judgement, got {found:.200}" + (" (missing)" if missing else ""))
        if posted["kind"] == "undo":
            raise InputError("'kind' must be label or skip, got 'undo'; to take an answer back use undo")
        values = {name: posted[name] for name in _REQUIRED}
        judgement = {name: posted[name] for name in _JUDGEMENT & set(posted)}
        values |= {"annotator": annotator, "judgement": judgement, "shown": (), "created_at": _now()}
        event = event_of(values, self.store.items)
        first = self.log.last.get(event.key._replace(round=0))
        if event.revision != self.log.next_revision(event.key) or (
            event.key.round and (not first or first.kind != "label")
        ):
            raise Conflict("this question was answered or taken back meanwhile; load it again")
        order = shown_order(self.plan.seed, event.key, len(self.store.items[event.key.item].completions))
        return replace(event, judgement=event.judgement.shown_in(order), shown=order)

    def undo(self, annotator: str, submission: Any) -> Event:
        """The event that takes an annotator's latest answer back, not written yet; Conflict where there is none."""
        if not (current := self.log.current.get(annotator)):
            raise Conflict("there is nothing to undo")
        key = next(reversed(current))
        values = {**key._asdict(), "revision": self.log.next_revision(key), "kind": "undo", "judgement": {}}
        values |= {"shown": (), "seconds": 0.0, "created_at": _now(), "submission": submission}
        return event_of(values, self.store.items)

    def known(self, annotator: str, submission: Any) -> Event | None:
        """What this submission already wrote: a client that got no answer sends it again."""
        event = self.log.submissions.get(submission) if isinstance(submission, str) else None
        return event if event and event.key.annotator == annotator else None

    def settle(self, event: Event, written: bool) -> Event:
        """After `Store.append`: takes in what it wrote; Conflict where another answer was quicker."""
        self.refresh()
        settled = self.known(event.key.annotator, event.submission)
        if not written and (settled is None or settled.key != event.key):
            raise Conflict("this question was answered elsewhere meanwhile; load it again")
        return settled or event

    def save(self, event: Event) -> Event:
        """Writes one event; returns it once it is on the disk. Raises StorageError and Conflict."""
        return self.settle(event, self.store.append([event])[0])

    def progress(self, annotator: str) -> Progress:
        current = list(self.log.current.get(annotator, {}).values())
        wanted = len(self._order) * self.plan.overlap
        seconds = [event.seconds for event in current[-20:] if event.kind == "label"]
        done = min(self.log.n_answers, wanted)
        return Progress(len(current), done, wanted, median(seconds) if seconds else None)

    def _complete(self, item: str) -> bool:
        return len(self.log.annotators_of.get(item, ())) >= self.plan.overlap


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
