"""What the dashboard shows: counts, agreement, speed and consistency, from the log alone."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from textrl_env.reward_models.feedback.desk.judgements import Item, Judgement, verdicts
from textrl_env.reward_models.feedback.desk.log import Event, Log


@dataclass(frozen=True)
class AnnotatorFigures:
    """One person's work; shares are None where nothing was compared."""

    name: str
    labels: int
    skips: int
    undone: int
    seconds: float | None
    agreement: float | None
    consistency: float | None
    repeats: int


@dataclass(frozen=True)
class Disputed:
    """An item that people judge differently, and what each of them said, as `2 > 1 = 3` or points."""

    item: Item
    agreement: float
    said: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Figures:
    """The dashboard's content; shares are in [0, 1], None where nothing was compared."""

    items: int
    complete: int
    labels: int
    wanted: int
    agreement: float | None
    consistency: float | None
    seconds: float | None
    annotators: tuple[AnnotatorFigures, ...]
    disputed: tuple[Disputed, ...]


def percent_agreement(groups: Iterable[Sequence[Sequence[int]]]) -> float | None:
    """Share of equal verdicts, over all pairs of judgements of the same item; None where there is no pair.

    Args:
        groups: per item, per judgement, its `verdicts`.
    """
    equal = total = 0
    for group in groups:
        for one, other in combinations(group, 2):
            equal += sum(a == b for a, b in zip(one, other, strict=True))
            total += len(one)
    return equal / total if total else None


def figures(log: Log, items: Mapping[str, Item], *, overlap: int, n_disputed: int = 6) -> Figures:
    """Of the labels that stand.

    Args:
        log: the log.
        items: by id.
        overlap: annotators wanted per item.
        n_disputed: how many of the items with least agreement are listed.
    """
    labels = log.labels()
    by_item: dict[str, list[Event]] = defaultdict(list)
    for event in labels:
        by_item[event.key.item].append(event)
    shared = {item: events for item, events in by_item.items() if len(events) > 1}
    repeats = log.labels(round=1)
    undone = Counter(event.key.annotator for event in log.submissions.values() if event.kind == "undo")
    people = tuple(_annotator(name, log, shared, repeats, undone[name]) for name in sorted(log.current))
    return Figures(
        items=len(items),
        complete=sum(len(events) >= overlap for events in by_item.values()),
        labels=len(labels),
        wanted=len(items) * overlap,
        agreement=percent_agreement([verdicts(event.judgement) for event in events] for events in shared.values()),
        consistency=_consistency(log, repeats),
        seconds=_median(labels),
        annotators=tuple(sorted(people, key=lambda person: -person.labels)),
        disputed=_disputed(shared, items, n_disputed),
    )


def said(judgement: Judgement) -> str:
    """A judgement in one line: `2 > 1 = 3`, or the points."""
    if judgement.ranks is None:
        return str(judgement.rating)
    by_rank: dict[int, list[str]] = defaultdict(list)
    for number, rank in enumerate(judgement.ranks, start=1):
        by_rank[rank].append(str(number))
    return " > ".join(" = ".join(by_rank[rank]) for rank in sorted(by_rank))


def _annotator(
    name: str, log: Log, shared: Mapping[str, list[Event]], repeats: Sequence[Event], undone: int
) -> AnnotatorFigures:
    standing = log.current[name].values()
    labels = [event for event in standing if event.kind == "label" and event.key.round == 0]
    with_others = [
        [verdicts(event.judgement), verdicts(other.judgement)]
        for event in labels
        for other in shared.get(event.key.item, ())
        if other.key.annotator != name
    ]
    own_repeats = [event for event in repeats if event.key.annotator == name]
    return AnnotatorFigures(
        name,
        len(labels),
        sum(event.kind == "skip" for event in standing),
        undone,
        _median(labels),
        percent_agreement(with_others),
        _consistency(log, own_repeats),
        len(own_repeats),
    )


def _consistency(log: Log, repeats: Sequence[Event]) -> float | None:
    """Agreement of repeats with the first answers; a repeat whose first answer was taken back counts no more."""
    firsts = [log.last[event.key._replace(round=0)] for event in repeats]
    return percent_agreement(
        [verdicts(first.judgement), verdicts(again.judgement)]
        for first, again in zip(firsts, repeats, strict=True)
        if first.kind == "label"
    )


def _disputed(shared: Mapping[str, list[Event]], items: Mapping[str, Item], n: int) -> tuple[Disputed, ...]:
    scored = [(percent_agreement([[verdicts(e.judgement) for e in events]]), item) for item, events in shared.items()]
    worst = sorted((share, item) for share, item in scored if share is not None and share < 1)[:n]
    return tuple(
        Disputed(items[item], share, tuple((event.key.annotator, said(event.judgement)) for event in shared[item]))
        for share, item in worst
    )


def _median(events: Sequence[Event]) -> float | None:
    return median(event.seconds for event in events) if events else None
