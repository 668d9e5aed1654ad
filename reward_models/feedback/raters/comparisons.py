"""Comparisons and ratings: who preferred what, or gave which rating, and when; read from files and from a desk."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from math import isfinite
from pathlib import Path
from typing import Any

from textrl_env.data import read_rows
from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.store import Item, LabelEvent, LabelLog, Store
from textrl_env.reward_models.preferences import preferences_of


@dataclass(frozen=True)
class Comparison:
    """A rater's order of completions of one prompt.

    Attributes:
        annotator: the rater's name.
        prompt: its text.
        ranking: K >= 2 completions, best first.
        tie: a pair that the rater found equally good; its order says nothing.
        time: seconds since 1970, or None.
    """

    annotator: str
    prompt: str
    ranking: tuple[str, ...]
    tie: bool = False
    time: float | None = None


@dataclass(frozen=True)
class Rating:
    """A rater's score of one completion; those of one prompt and one rater can be compared with each other."""

    annotator: str
    prompt: str
    completion: str
    value: float
    time: float | None = None


def read_judgements(path: str | Path) -> list[Comparison] | list[Rating]:
    """Reads the judgements of several people from a file of rows or a database of `textrl label`.

    Rows (JSONL, JSON or CSV) have a column `annotator`, and optionally `prompt` and `created_at`. Comparisons have the
    columns of `read_preferences` (`chosen` and `rejected`, or `ranking`; `tie`), ratings have `completion` and
    `rating`. `created_at` is seconds since 1970 or a date and time as in ISO 8601.

    Of a database (`.db`) the labels that stand are read; hidden repeats are left out. A ranking with ties becomes one
    comparison per pair.

    Raises:
        InputError: a row that is not as it should be, by `file:line`; no file, a damaged or foreign database, or one
            without labels; or comparisons and ratings side by side.
    """
    return _read_database(Path(path)) if Path(path).suffix == ".db" else _read_rows(path)


def _read_rows(path: str | Path) -> list[Comparison] | list[Rating]:
    rows = read_rows(path, text_columns=["annotator"], optional=["prompt"], fault_of=_row_fault)
    are_ratings = {"rating" in row.values for row in rows}
    if len(are_ratings) > 1:
        raise InputError(f"{path}: some rows have a 'rating' and some a comparison; put them into two files")
    if are_ratings.pop():
        return [
            Rating(r["annotator"], r.get("prompt", ""), r["completion"], float(r["rating"]), _read_time(r))
            for r in (row.values for row in rows)
        ]
    preferences = preferences_of({**row.values, "where": row.where} for row in rows)
    return [
        Comparison(r["annotator"], p.prompt, p.ranking, bool(r.get("tie")), _read_time(r))
        for p, r in zip(preferences, (row.values for row in rows), strict=True)
    ]


def _row_fault(row: Mapping[str, Any]) -> str | None:
    if "rating" in row:
        if not isinstance(row.get("completion"), str):
            return f"a row with a 'rating' needs a text in 'completion', got {row.get('completion')!r:.100}"
        if not isfinite(_number(row["rating"])):
            return f"'rating' must be a number, got {row['rating']!r:.100}"
    elif row.get("ranking") is None and not all(isinstance(row.get(name), str) for name in ("chosen", "rejected")):
        return f"expected texts in 'chosen' and 'rejected', or a 'ranking', or 'rating' (found: {', '.join(row)})"
    elif len(set(ranking := row.get("ranking") or ())) < len(ranking):
        return "'ranking' holds the same text twice"
    try:
        _read_time(row)
    except ValueError:
        return f"'created_at' must be seconds since 1970 or a date as in ISO 8601, got {row['created_at']!r:.100}"
    return None


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _read_time(row: Mapping[str, Any]) -> float | None:
    """Reads `created_at`, if it is there; ValueError where it is no time."""
    value = row.get("created_at")
    if value is None:
        return None
    seconds = _number(value)
    return seconds if isfinite(seconds) else datetime.fromisoformat(str(value)).timestamp()


def _read_database(path: Path) -> list[Comparison] | list[Rating]:
    if not path.is_file():
        raise InputError(f"{path}: no database here; expected the file that `textrl label` wrote")
    store, log = Store(path), LabelLog()
    try:
        log.apply(store.events())
    finally:
        store.close()
    labels = [(event, store.items[event.key.item]) for event in log.labels()]
    ratings = [_rating_of(event, item) for event, item in labels if event.judgement.rating is not None]
    orders = [(event, item) for event, item in labels if event.judgement.ranks]
    comparisons = [comparison for event, item in orders for comparison in _comparisons_of(event, item)]
    if ratings and comparisons:
        raise InputError(
            f"{path} holds comparisons and ratings, which are judged apart; write one of them to a file with "
            "`textrl export-labels --form rankings` or `--form ratings` and judge that"
        )
    if not ratings and not comparisons:
        raise InputError(f"{path}: nobody has answered yet")
    return ratings or comparisons


def _rating_of(event: LabelEvent, item: Item) -> Rating:
    value = float(event.judgement.rating or 0)
    return Rating(event.key.annotator, _prompt_text(item), item.completions[0], value, _event_time(event))


def _comparisons_of(event: LabelEvent, item: Item) -> Iterator[Comparison]:
    """Yields one comparison for a strict order of all completions, and one per pair where some are tied."""
    ranks = event.judgement.ranks or ()
    order = sorted(range(len(ranks)), key=ranks.__getitem__)
    is_strict = len(set(ranks)) == len(ranks)
    for places in [tuple(order)] if is_strict else combinations(order, 2):
        texts = tuple(item.completions[index] for index in places)
        tie = not is_strict and ranks[places[0]] == ranks[places[1]]
        yield Comparison(event.key.annotator, _prompt_text(item), texts, tie, _event_time(event))


def _prompt_text(item: Item) -> str:
    return item.prompt if isinstance(item.prompt, str) else json.dumps(item.prompt, ensure_ascii=False)


def _event_time(event: LabelEvent) -> float:
    return datetime.fromisoformat(event.created_at).timestamp()
