"""Assignment: which question an annotator gets next, and in which order its completions stand."""

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from textrl_env.errors import require_count, require_within
from textrl_env.reward_models.feedback.store import AnswerKey, LabelLog

REPEAT_GAP = 5
"""Answers between an item and its hidden repeat, at least: sooner, annotators would repeat from memory."""


@dataclass(frozen=True)
class DeskConfig:
    """The way in which items are dealt out."""

    overlap: int = 1
    """Annotators per item."""
    repeats: float = 0.0
    """Share of an annotator's answers that are asked a second time, in [0, 1)."""
    seed: str = "0"
    """Decides the order of items and of the completions in each; text, so that a database can hold it."""

    def __post_init__(self) -> None:
        require_count(1, overlap=self.overlap)
        require_within("[0, 1)", repeats=self.repeats)


def order_items(items: Sequence[str], disagreement: Mapping[str, float], seed: str) -> list[str]:
    """Sorts ids of items: most disagreement first, equal ones at random; the same for everybody, for early overlaps."""
    return sorted(items, key=lambda item: (-disagreement[item], _digest(seed, item)))


def order_completions(seed: str, key: AnswerKey, k: int) -> tuple[int, ...]:
    """Shuffles k completions: place on the screen -> index in the item, at random per person, reversed in the repeat.

    So somebody who always takes the left one contradicts themselves in every repeat.
    """
    order = list(range(k))
    random.Random(_digest(seed, key.item, key.annotator)).shuffle(order)
    return tuple(reversed(order)) if key.round else tuple(order)


def next_key(
    log: LabelLog,
    annotator: str,
    config: DeskConfig,
    *,
    order: Iterable[str],
    reservations: Mapping[str, Sequence[str]],
) -> AnswerKey | None:
    """Chooses the annotator's next question; None when there is nothing left.

    Answers that the annotator took back come first. Then a hidden repeat, if one is due. Then the first item of `order`
    that the annotator has neither answered nor skipped, and that answers and reservations of others leave open.

    Args:
        log: the log so far.
        annotator: the name of the person to be asked.
        config: overlap and share of repeats.
        order: ids of the items that may be open.
        reservations: by item, the annotators who have it before them now.
    """
    if undone := log.undone.get(annotator):
        return next(reversed(undone))
    if repeat := due_repeat(log, annotator, config):
        return repeat
    current = log.current.get(annotator, {})
    for item in order:
        key = AnswerKey(item, annotator, 0)
        if key not in current:
            busy = log.annotators_of.get(item, set()) | set(reservations.get(item, ()))
            if len(busy - {annotator}) < config.overlap:
                return key
    return None


def due_repeat(log: LabelLog, annotator: str, config: DeskConfig) -> AnswerKey | None:
    """Chooses a first-round label to be asked again, once `repeats` of all answers owe one; None before."""
    standing = list(log.current.get(annotator, {}).values())
    first = [event for event in standing if event.key.round == 0 and event.kind == "label"]
    repeats = {event.key.item for event in standing if event.key.round == 1}
    # Of n + r answers r are repeats: r = share * (n + r).
    n_due = int(config.repeats / (1 - config.repeats) * len(first) + 1e-9)
    recent = {event.key.item for event in standing[-REPEAT_GAP:]}
    candidates = [event.key.item for event in first if event.key.item not in repeats | recent]
    if len(repeats) >= n_due or not candidates:
        return None
    return AnswerKey(min(candidates, key=lambda item: _digest(config.seed, annotator, item)), annotator, 1)


def _digest(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()
