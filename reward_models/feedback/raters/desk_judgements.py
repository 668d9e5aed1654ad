"""What the raters' statistics need of a labelling desk's database."""

import json
from collections.abc import Iterator
from datetime import datetime
from itertools import combinations
from pathlib import Path

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.desk import Event, Item, Log, Store
from textrl_env.reward_models.feedback.raters.comparisons import Comparison, Rating


def read_desk(path: str | Path) -> list[Comparison] | list[Rating]:
    """The labels that stand in a database of `textrl label`; hidden repeats are left out.

    Raises:
        InputError: no such file, a damaged or foreign one, no label in it, or comparisons and ratings side by side.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no database here; expected the file that `textrl label` wrote")
    store, log = Store(path), Log()
    try:
        log.apply(store.events())
    finally:
        store.close()
    labels = [(event, store.items[event.key.item]) for event in log.labels()]
    ratings = [_rating(event, item) for event, item in labels if event.judgement.rating is not None]
    comparisons = [one for event, item in labels if event.judgement.ranks for one in _comparisons(event, item)]
    if ratings and comparisons:
        raise InputError(
            f"{path} holds comparisons and ratings, which are judged apart; write one of them to a file with "
            "`textrl export-labels --form rankings` or `--form ratings` and judge that"
        )
    if not ratings and not comparisons:
        raise InputError(f"{path}: nobody has answered yet")
    return ratings or comparisons


def _rating(event: Event, item: Item) -> Rating:
    value = float(event.judgement.rating or 0)
    return Rating(event.key.annotator, _text(item), item.completions[0], value, _time(event))


def _comparisons(event: Event, item: Item) -> Iterator[Comparison]:
    """One for a strict order of all completions; one a pair where some are tied."""
    ranks = event.judgement.ranks or ()
    order = sorted(range(len(ranks)), key=ranks.__getitem__)
    strict = len(set(ranks)) == len(ranks)
    for places in [tuple(order)] if strict else combinations(order, 2):
        texts = tuple(item.completions[index] for index in places)
        tie = not strict and ranks[places[0]] == ranks[places[1]]
        yield Comparison(event.key.annotator, _text(item), texts, tie, _time(event))


def _text(item: Item) -> str:
    return item.prompt if isinstance(item.prompt, str) else json.dumps(item.prompt, ensure_ascii=False)


def _time(event: Event) -> float:
    return datetime.fromisoformat(event.created_at).timestamp()
