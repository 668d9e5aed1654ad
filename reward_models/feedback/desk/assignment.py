"""Who is asked what next: pure functions of the log."""

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from textrl_env.errors import InputError, require_at_least
from textrl_env.reward_models.feedback.desk.log import Key, Log

REPEAT_GAP = 5
"""Answers between an item and its hidden repeat, at least: who still remembers the item repeats it from memory."""


@dataclass(frozen=True)
class Plan:
    """How items are dealt out.

    Attributes:
        overlap: annotators per item.
        repeats: share of an annotator's answers that are asked a second time, in [0, 1).
        seed: of the order of items and of the completions in each; text, so that a database can hold it.
    """

    overlap: int = 1
    repeats: float = 0.0
    seed: str = "0"

    def __post_init__(self) -> None:
        require_at_least(1, overlap=self.overlap)
        if not 0 <= self.repeats < 1:
            raise InputError(f"repeats must be in [0, 1), got {self.repeats}")


def item_order(items: Sequence[str], disagreement: Mapping[str, float], seed: str) -> list[str]:
    """Most disagreement first, and equal ones at random; the same for everybody, so that overlaps come early."""
    return sorted(items, key=lambda item: (-disagreement[item], _digest(seed, item)))


def shown_order(seed: str, key: Key, k: int) -> tuple[int, ...]:
    """Place on the screen -> index in the item: at random for every person, and turned round for the repeat.

    So somebody who always takes the left one contradicts themselves in every repeat.
    """
    order = list(range(k))
    random.Random(_digest(seed, key.item, key.annotator)).shuffle(order)
    return tuple(reversed(order)) if key.round else tuple(order)


def next_key(
    log: Log, order: Iterable[str], annotator: str, plan: Plan, reserved: Mapping[str, Sequence[str]]
) -> Key | None:
    """What an annotator is asked next; None when there is nothing left.

    What they took back comes first. Then a hidden repeat, if one is due. Then the first item of `order` that they have
    neither answered nor skipped, and that answers and reservations of others leave open.

    Args:
        log: the log so far.
        order: ids of the items that may be open.
        annotator: who asks.
        plan: overlap and share of repeats.
        reserved: by item, who has it before them now.
    """
    if undone := log.undone.get(annotator):
        return next(reversed(undone))
    if repeat := due_repeat(log, annotator, plan):
        return repeat
    current = log.current.get(annotator, {})
    for item in order:
        key = Key(item, annotator, 0)
        if key not in current:
            taken = log.annotators_of.get(item, set()) | set(reserved.get(item, ()))
            if len(taken - {annotator}) < plan.overlap:
                return key
    return None


def due_repeat(log: Log, annotator: str, plan: Plan) -> Key | None:
    """A first-round label to be asked again, once that many are owed that `repeats` of all answers will be such."""
    standing = list(log.current.get(annotator, {}).values())
    first = [event for event in standing if event.key.round == 0 and event.kind == "label"]
    asked = {event.key.item for event in standing if event.key.round == 1}
    # Of n + r answers r are repeats: r = share * (n + r).
    owed = int(plan.repeats / (1 - plan.repeats) * len(first) + 1e-9)
    recent = {event.key.item for event in standing[-REPEAT_GAP:]}
    candidates = [event.key.item for event in first if event.key.item not in asked | recent]
    if len(asked) >= owed or not candidates:
        return None
    return Key(min(candidates, key=lambda item: _digest(plan.seed, annotator, item)), annotator, 1)


def _digest(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()
