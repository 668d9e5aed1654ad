"""The labelling desk without its surface: hands out questions, takes answers and takes them back."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from statistics import median
from typing import Any

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.desk.assignment import DeskConfig, next_key, order_completions, order_items
from textrl_env.reward_models.feedback.store import AnswerKey, Item, LabelEvent, LabelLog, Store

RESERVATION_SECONDS = 600.0
_JUDGEMENT = {"ranks", "rating", "tags", "reasons", "comment"}
_REQUIRED = {"item", "round", "revision", "kind", "seconds", "submission"}


class AnswerConflictError(InputError):
    """An answer that does not fit what stands: given elsewhere meanwhile, taken back, or never asked for."""


@dataclass(frozen=True)
class DeskQuestion:
    """An item as one annotator sees it.

    Attributes:
        key: item, annotator and round of the answer.
        revision: of the answer.
        item: prompt and completions.
        order: places on the screen -> indices in the item.
    """

    key: AnswerKey
    revision: int
    item: Item
    order: tuple[int, ...]

    @property
    def completions(self) -> list[str]:
        """The completions in their order on the screen."""
        return [self.item.completions[index] for index in self.order]


@dataclass(frozen=True)
class DeskProgress:
    """Counts of answers, by one annotator and in all.

    Attributes:
        n_own: answers of the annotator that stand, repeats and skips included.
        n_done: first-round answers of everybody, at most `n_due`.
        n_due: items times annotators per item.
        seconds: the annotator's median over the last 20 answers; None before the first.
    """

    n_own: int
    n_done: int
    n_due: int
    seconds: float | None


class Desk:
    """Questions out, answers in; one per process, on any number of annotators.

    Args:
        store: where answers go.
        config: overlap, repeats, order.
        clock: seconds, for reservations.
    """

    def __init__(self, store: Store, config: DeskConfig, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.store, self.log = store, LabelLog()
        # The seed decides how places on the screen are read back: it stays what it was when the database was begun.
        self.config = replace(config, seed=store.setting("seed", config.seed))
        self._order: list[str] = []
        self._first_open = 0
        self._clock = clock
        self._reservations: dict[str, tuple[str, float]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Takes in what was written since, by this process or another."""
        events = self.store.events(self.log.last_id)
        if len(self._order) < len(self.store.items):
            self._order = order_items(list(self.store.items), self.store.disagreement, self.config.seed)
            self._first_open = 0
        if any(event.kind == "undo" for event in events):
            self._first_open = 0
        for event in events:
            if self._reservations.get(event.key.annotator, ("",))[0] == event.key.item:
                del self._reservations[event.key.annotator]
        self.log.apply(events)

    def question(self, annotator: str) -> DeskQuestion | None:
        """Returns the annotator's question: the same until it is answered; None when there is nothing left."""
        while self._first_open < len(self._order) and self._is_complete(self._order[self._first_open]):
            self._first_open += 1
        now = self._clock()
        self._reservations = {name: (item, end) for name, (item, end) in self._reservations.items() if end > now}
        by_item: dict[str, list[str]] = {}
        for name, (item_id, _) in self._reservations.items():
            by_item.setdefault(item_id, []).append(name)
        reservation = self._reservations.get(annotator)
        still_open = (self._order[index] for index in range(self._first_open, len(self._order)))
        order = chain(reservation[:1] if reservation else (), still_open)
        key = next_key(self.log, annotator, self.config, order=order, reservations=by_item)
        if key is None:
            return None
        self._reservations[annotator] = (key.item, now + RESERVATION_SECONDS)
        item = self.store.items[key.item]
        places = order_completions(self.config.seed, key, len(item.completions))
        return DeskQuestion(key, self.log.next_revision(key), item, places)

    def answer(self, annotator: str, body: Mapping[str, Any]) -> LabelEvent:
        """Makes the event of an answer, which `save` then writes.

        Args:
            annotator: the name of the person who answers.
            body: `item`, `round`, `revision`, `kind` (`label` or `skip`), `seconds`, `submission`, and the attributes
                of a `Judgement` in the order on the screen; the event's judgement is in the order of the item.

        Raises:
            AnswerConflictError: the question stands no longer as it was asked.
            InputError: a value is not what it should be.
        """
        if (missing := _REQUIRED - set(body)) or (set(body) - _REQUIRED - _JUDGEMENT):
            required, names = ", ".join(sorted(_REQUIRED)), ", ".join(sorted(map(str, body)))
            raise InputError(
                f"expected {required} and a judgement, got {names:.200}" + (" (missing)" if missing else "")
            )
        if body["kind"] == "undo":
            raise InputError("'kind' must be label or skip, got 'undo'; to take an answer back use undo")
        values = {name: body[name] for name in _REQUIRED}
        judgement = {name: body[name] for name in _JUDGEMENT & set(body)}
        values |= {"annotator": annotator, "judgement": judgement, "shown": (), "created_at": _now()}
        event = LabelEvent.from_values(values, self.store.items)
        first = self.log.last.get(event.key._replace(round=0))
        if event.revision != self.log.next_revision(event.key) or (
            event.key.round and (not first or first.kind != "label")
        ):
            raise AnswerConflictError("this question was answered or taken back meanwhile; load it again")
        order = order_completions(self.config.seed, event.key, len(self.store.items[event.key.item].completions))
        return replace(event, judgement=event.judgement.restore_order(order), order=order)

    def undo(self, annotator: str, submission: Any) -> LabelEvent:
        """Makes the event that takes an annotator's latest answer back; AnswerConflictError where there is none."""
        if not (current := self.log.current.get(annotator)):
            raise AnswerConflictError("there is nothing to undo")
        key = next(reversed(current))
        values = {**key._asdict(), "revision": self.log.next_revision(key), "kind": "undo", "judgement": {}}
        values |= {"shown": (), "seconds": 0.0, "created_at": _now(), "submission": submission}
        return LabelEvent.from_values(values, self.store.items)

    def find_submission(self, annotator: str, submission: Any) -> LabelEvent | None:
        """Returns the event of a submission that was written: a client that got no answer sends it again."""
        event = self.log.submissions.get(submission) if isinstance(submission, str) else None
        return event if event and event.key.annotator == annotator else None

    def settle(self, event: LabelEvent, *, is_new: bool) -> LabelEvent:
        """Takes in what `Store.append` wrote, and returns it; AnswerConflictError where another answer was quicker."""
        self.refresh()
        event_in_log = self.find_submission(event.key.annotator, event.submission)
        if not is_new and (event_in_log is None or event_in_log.key != event.key):
            raise AnswerConflictError("this question was answered elsewhere meanwhile; load it again")
        return event_in_log or event

    def save(self, event: LabelEvent) -> LabelEvent:
        """Writes one event; returns it once it is on the disk. Raises StorageError and AnswerConflictError."""
        return self.settle(event, is_new=self.store.append([event])[0])

    def progress(self, annotator: str) -> DeskProgress:
        """Counts the answers that stand, the annotator's and everybody's."""
        current = list(self.log.current.get(annotator, {}).values())
        n_due = len(self._order) * self.config.overlap
        seconds = [event.seconds for event in current[-20:] if event.kind == "label"]
        n_done = min(self.log.n_answers, n_due)
        return DeskProgress(len(current), n_done, n_due, median(seconds) if seconds else None)

    def _is_complete(self, item: str) -> bool:
        return len(self.log.annotators_of.get(item, ())) >= self.config.overlap


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
