"""Rows for training made of labels: preferences and rankings in TRL's columns, ratings, and the whole log."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from textrl_env.data.text import as_completion
from textrl_env.reward_models.feedback.store import Item, Judgement, LabelEvent, LabelLog

LabelRow = dict[str, Any]


def export_preferences(log: LabelLog, items: Mapping[str, Item], *, keep_ties: bool = False) -> list[LabelRow]:
    """Makes a row per pair of completions that an annotator judged: `prompt`, `chosen`, `rejected`.

    A ranking of K gives K (K - 1) / 2 rows. Ratings give one for every two completions of a prompt to which the same
    person gave different points; `margin`, their difference in units of the scale's length, is there if all rows are
    of that kind. Extra columns: `annotator`, `tie`, `created_at`, `item`, and `shown`, the places of chosen and
    rejected on the screen, 0 first; null for two ratings, which were not shown together.

    Args:
        log: the log; hidden repeats are left out.
        items: by id.
        keep_ties: makes rows of ties too, with `tie` true. Our reader gives them an even label; TRL knows no ties and
            would learn a preference.
    """
    rank_rows = [row for event in log.labels() for row in _rows_of_ranks(event, items[event.key.item])]
    rating_rows = list(_rows_of_ratings(log, items))
    if rank_rows:
        rating_rows = [{name: value for name, value in row.items() if name != "margin"} for row in rating_rows]
    return [row for row in rank_rows + rating_rows if keep_ties or not row["tie"]]


def export_rankings(log: LabelLog, items: Mapping[str, Item]) -> list[LabelRow]:
    """Makes a row per judgement: `ranking`, best first, and `chosen` and `rejected`, its two ends.

    Ties are even `soft_labels`, one per pair of the ranking; null where there is no tie. A judgement of all
    completions as equal prefers none, and gives no row. `shown` are the places of the ranking's texts on the screen.
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
        extra = {"ranking": texts, "soft_labels": soft if 0.5 in soft else None, "shown": _places(event, order)}
        rows.append({"prompt": item.prompt, **ends, **extra, **_origin(event)})
    return rows


def export_ratings(log: LabelLog, items: Mapping[str, Item]) -> list[LabelRow]:
    """Makes a row per rating: `prompt`, `completion`, `rating` from 1 to 7."""
    rows = []
    for event in log.labels():
        if event.judgement.rating is not None:
            item = items[event.key.item]
            completion = as_completion(item.prompt, item.completions[0])
            row = {"prompt": item.prompt, "completion": completion, "rating": event.judgement.rating}
            rows.append(row | _origin(event))
    return rows


def export_events(log: LabelLog, items: Mapping[str, Item]) -> list[LabelRow]:
    """Makes a row per event, in order: labels, skips and undos, repeats included, with the item in each row."""
    names = ("id", "revision", "kind", "seconds", "created_at", "submission")
    rows = []
    for event in sorted(log.submissions.values(), key=lambda event: event.id):
        item = items[event.key.item]
        row = event.key._asdict() | {name: getattr(event, name) for name in names} | asdict(event.judgement)
        row |= {"shown": event.order, "task": item.task, "prompt": item.prompt, "completions": item.completions}
        rows.append(row)
    return rows


def _rows_of_ranks(event: LabelEvent, item: Item) -> Iterator[LabelRow]:
    ranks = event.judgement.ranks or ()
    for pair in combinations(range(len(ranks)), 2):
        better, worse = sorted(pair, key=lambda index: ranks[index])
        texts = item.completions[better], item.completions[worse]
        row = _pair_row(event, item.prompt, texts, tie=ranks[better] == ranks[worse])
        yield {**row, "shown": _places(event, [better, worse])}


def _rows_of_ratings(log: LabelLog, items: Mapping[str, Item]) -> Iterator[LabelRow]:
    groups: dict[str, list[LabelEvent]] = defaultdict(list)
    for event in log.labels():
        if event.judgement.rating is not None:
            groups[repr((event.key.annotator, items[event.key.item].prompt))].append(event)
    for group in groups.values():
        for pair in combinations(group, 2):
            better, worse = sorted(pair, key=lambda event: -(event.judgement.rating or 0))
            gap = (better.judgement.rating or 0) - (worse.judgement.rating or 0)
            item = items[better.key.item]
            texts = item.completions[0], items[worse.key.item].completions[0]
            row = _pair_row(better, item.prompt, texts, tie=gap == 0)
            yield {**row, "shown": None, "margin": gap / (Judgement.N_POINTS - 1)}


def _pair_row(event: LabelEvent, prompt: Any, texts: tuple[str, str], *, tie: bool) -> LabelRow:
    chosen, rejected = (as_completion(prompt, text) for text in texts)
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, "tie": tie, **_origin(event)}


def _places(event: LabelEvent, order: Sequence[int]) -> list[int] | None:
    """Places on the screen of the completions of `order`, counted among them from 0; None where nothing was shown."""
    if not event.order:
        return None
    on_screen = sorted(order, key=event.order.index)
    return [on_screen.index(index) for index in order]


def _origin(event: LabelEvent) -> LabelRow:
    return {"annotator": event.key.annotator, "created_at": event.created_at, "item": event.key.item}
