"""Labels as rows for training: preferences and rankings in TRL's columns, ratings, and the whole log."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from textrl_env.data.text import as_completion
from textrl_env.reward_models.feedback.desk import N_POINTS, Event, Item, Log

Row = dict[str, Any]


def preferences(log: Log, items: Mapping[str, Item], *, keep_ties: bool = False) -> list[Row]:
    """One row per pair of completions that an annotator judged: `prompt`, `chosen`, `rejected`.

    A ranking of K gives K (K - 1) / 2 rows. Ratings give one for every two completions of a prompt to which the same
    person gave different points; `margin`, their difference in units of the scale's length, is there if all rows are
    of that kind. Extra columns: `annotator`, `tie`, `created_at`, `item`, and `shown`, the places of chosen and
    rejected on the screen, 0 first; null for two ratings, which were not shown together.

    Args:
        log: the log; hidden repeats are left out.
        items: by id.
        keep_ties: ties are rows with `tie` true. Our reader gives them an even label; TRL knows no ties and would
            learn a preference.
    """
    rows = [
        row
        for event in log.labels()
        if event.judgement.ranks is not None
        for row in _of_ranks(event, items[event.key.item])
    ]
    rated = list(_of_ratings(log, items))
    if rows:
        rated = [{name: value for name, value in row.items() if name != "margin"} for row in rated]
    return [row for row in rows + rated if keep_ties or not row["tie"]]


def rankings(log: Log, items: Mapping[str, Item]) -> list[Row]:
    """One row per judgement: `ranking`, best first, and `chosen` and `rejected`, its two ends.

    Ties are even `soft_labels`, one per pair of the ranking; null where there is no tie. Who judged all completions
    alike preferred none, and gives no row. `shown` are the places of the ranking's completions on the screen.
    """
    rows = []
    for event in log.labels():
        ranks, item = event.judgement.ranks, items[event.key.item]
        if ranks is None or max(ranks) == 1:
            continue
        order = sorted(range(len(ranks)), key=lambda index: ranks[index])
        texts = [item.completions[index] for index in order]
        soft = [0.5 if ranks[a] == ranks[b] else 1.0 for a, b in combinations(order, 2)]
        ends = {"chosen": as_completion(item.prompt, texts[0]), "rejected": as_completion(item.prompt, texts[-1])}
        shown = _places(event, order)
        extra = {"ranking": texts, "soft_labels": soft if 0.5 in soft else None, "shown": shown}
        rows.append({"prompt": item.prompt, **ends, **extra, **_origin(event)})
    return rows


def ratings(log: Log, items: Mapping[str, Item]) -> list[Row]:
    """One row per rating: `prompt`, `completion`, `rating` from 1 to 7."""
    rated = [event for event in log.labels() if event.judgement.rating is not None]
    return [
        {
            "prompt": (item := items[event.key.item]).prompt,
            "completion": as_completion(item.prompt, item.completions[0]),
            "rating": event.judgement.rating,
            **_origin(event),
        }
        for event in rated
    ]


def events(log: Log, items: Mapping[str, Item]) -> list[Row]:
    """Everything that happened, in order: labels, skips and undos, repeats included, with the item in each row."""
    return [
        {
            **event.key._asdict(),
            **{
                name: getattr(event, name) for name in ("id", "revision", "kind", "seconds", "created_at", "submission")
            },
            **asdict(event.judgement),
            "shown": event.shown,
            "task": items[event.key.item].task,
            "prompt": items[event.key.item].prompt,
            "completions": items[event.key.item].completions,
        }
        for event in sorted(log.submissions.values(), key=lambda event: event.id)
    ]


def _of_ranks(event: Event, item: Item) -> Iterator[Row]:
    ranks = event.judgement.ranks or ()
    for pair in combinations(range(len(ranks)), 2):
        better, worse = sorted(pair, key=lambda index: ranks[index])
        row = _pair(item, item.completions[better], item.completions[worse], ranks[better] == ranks[worse], event)
        yield {**row, "shown": _places(event, [better, worse])}


def _of_ratings(log: Log, items: Mapping[str, Item]) -> Iterator[Row]:
    groups: dict[str, list[Event]] = defaultdict(list)
    for event in log.labels():
        if event.judgement.rating is not None:
            groups[repr((event.key.annotator, items[event.key.item].prompt))].append(event)
    for group in groups.values():
        for pair in combinations(group, 2):
            better, worse = sorted(pair, key=lambda event: -(event.judgement.rating or 0))
            gap = (better.judgement.rating or 0) - (worse.judgement.rating or 0)
            item = items[better.key.item]
            row = _pair(item, item.completions[0], items[worse.key.item].completions[0], gap == 0, better)
            yield {**row, "shown": None, "margin": gap / (N_POINTS - 1)}


def _pair(item: Item, chosen: str, rejected: str, tie: bool, event: Event) -> Row:
    texts = {"chosen": as_completion(item.prompt, chosen), "rejected": as_completion(item.prompt, rejected)}
    return {"prompt": item.prompt, **texts, "tie": tie, **_origin(event)}


def _places(event: Event, order: Sequence[int]) -> list[int] | None:
    """Which of the completions of `order` stood first on the screen, 0, which second, and so on."""
    if not event.shown:
        return None
    among = sorted(order, key=event.shown.index)
    return [among.index(index) for index in order]


def _origin(event: Event) -> Row:
    return {"annotator": event.key.annotator, "created_at": event.created_at, "item": event.key.item}
