"""Figures of the dashboard: counts, agreement, speed and consistency, from the log alone."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from textrl_env.reward_models.feedback.store import Item, Judgement, LabelEvent, LabelLog


@dataclass(frozen=True)
class AnnotatorFigures:
    """A person's work; shares are in [0, 1], None where nothing was compared."""

    name: str
    labels: int
    skips: int
    undone: int
    seconds: float | None
    agreement: float | None
    consistency: float | None
    repeats: int


@dataclass(frozen=True)
class Dispute:
    """An item that people judge differently, and (annotator, verdict) of each, as `2 > 1 = 3` or points."""

    item: Item
    agreement: float
    votes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class DashboardFigures:
    """The dashboard's content; shares are in [0, 1], None where nothing was compared."""

    items: int
    complete: int
    labels: int
    goal: int
    agreement: float | None
    consistency: float | None
    seconds: float | None
    annotators: tuple[AnnotatorFigures, ...]
    disputes: tuple[Dispute, ...]


def percent_agreement(groups: Iterable[Sequence[Sequence[int]]]) -> float | None:
    """Share of equal verdicts, over all pairs of judgements of the same item; None where there is no pair.

    Args:
        groups: per item, per judgement, its `verdicts`.
    """
    equal = total = 0
    for group in groups:
        for first, second in combinations(group, 2):
            equal += sum(a == b for a, b in zip(first, second, strict=True))
            total += len(first)
    return equal / total if total else None


def compute_dashboard(
    log: LabelLog, items: Mapping[str, Item], *, overlap: int, n_disputes: int = 6
) -> DashboardFigures:
    """Computes the figures of the labels that stand.

    Args:
        log: the log.
        items: by id.
        overlap: annotators wanted per item.
        n_disputes: how many of the items with least agreement are listed.
    """
    labels = log.labels()
    by_item: dict[str, list[LabelEvent]] = defaultdict(list)
    for event in labels:
        by_item[event.key.item].append(event)
    overlaps = {item: events for item, events in by_item.items() if len(events) > 1}
    repeats = log.labels(round=1)
    n_undone = Counter(event.key.annotator for event in log.submissions.values() if event.kind == "undo")
    people = [_annotator_figures(name, log, overlaps, n_undone=n_undone[name]) for name in sorted(log.current)]
    return DashboardFigures(
        items=len(items),
        complete=sum(len(events) >= overlap for events in by_item.values()),
        labels=len(labels),
        goal=len(items) * overlap,
        agreement=percent_agreement([event.judgement.verdicts for event in events] for events in overlaps.values()),
        consistency=_consistency(log, repeats),
        seconds=_median_seconds(labels),
        annotators=tuple(sorted(people, key=lambda person: -person.labels)),
        disputes=_disputes(overlaps, items, n_disputes),
    )


def format_judgement(judgement: Judgement) -> str:
    """Formats a judgement in one line: `2 > 1 = 3`, or the points."""
    if judgement.ranks is None:
        return str(judgement.rating)
    by_rank: dict[int, list[str]] = defaultdict(list)
    for number, rank in enumerate(judgement.ranks, start=1):
        by_rank[rank].append(str(number))
    return " > ".join(" = ".join(by_rank[rank]) for rank in sorted(by_rank))


def _annotator_figures(
    name: str, log: LabelLog, overlaps: Mapping[str, list[LabelEvent]], *, n_undone: int
) -> AnnotatorFigures:
    standing = log.current[name].values()
    labels = [event for event in standing if event.kind == "label" and event.key.round == 0]
    pairs = [
        [event.judgement.verdicts, another.judgement.verdicts]
        for event in labels
        for another in overlaps.get(event.key.item, ())
        if another.key.annotator != name
    ]
    repeats = [event for event in log.labels(round=1) if event.key.annotator == name]
    return AnnotatorFigures(
        name=name,
        labels=len(labels),
        skips=sum(event.kind == "skip" for event in standing),
        undone=n_undone,
        seconds=_median_seconds(labels),
        agreement=percent_agreement(pairs),
        consistency=_consistency(log, repeats),
        repeats=len(repeats),
    )


def _consistency(log: LabelLog, repeats: Sequence[LabelEvent]) -> float | None:
    """Agreement of repeats with the first answers; a repeat whose first answer was taken back counts no more."""
    firsts = [log.last[event.key._replace(round=0)] for event in repeats]
    return percent_agreement(
        [first.judgement.verdicts, again.judgement.verdicts]
        for first, again in zip(firsts, repeats, strict=True)
        if first.kind == "label"
    )


def _disputes(overlaps: Mapping[str, list[LabelEvent]], items: Mapping[str, Item], n: int) -> tuple[Dispute, ...]:
    shares = {
        item: percent_agreement([[event.judgement.verdicts for event in events]]) for item, events in overlaps.items()
    }
    worst = sorted((share, item) for item, share in shares.items() if share is not None and share < 1)[:n]
    return tuple(
        Dispute(
            items[item],
            share,
            tuple((event.key.annotator, format_judgement(event.judgement)) for event in overlaps[item]),
        )
        for share, item in worst
    )


def _median_seconds(events: Sequence[LabelEvent]) -> float | None:
    return median(event.seconds for event in events) if events else None
