"""Comparisons and ratings: who preferred what, or gave which rating, and when; read from files and from a desk."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from math import isfinite
from pathlib import Path
from typing import Any

from textrl_env.data import OnBadRow, Row, find_text_fault
from textrl_env.data.columns import is_given, parse_number
from textrl_env.data.rows import read_each, require_columns
from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.store import Item, LabelEvent, LabelLog, Store
from textrl_env.reward_models.preferences import read_preference
from textrl_env.reward_models.training_rows import read_rated_completion


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


def read_judgements(path: str | Path, *, on_bad_row: OnBadRow = "error") -> list[Comparison] | list[Rating]:
    """Reads the judgements of several people from a file of rows or a database of `textrl label`.

    Rows (JSONL, JSON or CSV) have a column `annotator`, and optionally `prompt` and `created_at`. Comparisons have the
    columns of `read_preferences` (`chosen` and `rejected`, or `ranking`; `tie`), ratings have `completion` and
    `rating`. `created_at` is seconds since 1970 or a date and time as in ISO 8601.

    Of a database (`.db`) the labels that stand are read; hidden repeats are left out. A ranking with ties becomes one
    comparison per pair.

    Args:
        path: the file or database.
        on_bad_row: `"skip"` leaves bad rows of a file out, with a warning.

    Raises:
        InputError: a row that is not as it should be, by `file:line`; no file, a damaged or foreign database, or one
            without labels; or comparisons and ratings side by side.
    """
    return _read_database(Path(path)) if Path(path).suffix == ".db" else _read_rows(path, on_bad_row)


def _read_rows(path: str | Path, on_bad_row: OnBadRow) -> list[Comparison] | list[Rating]:
    judgements = read_each(path, _read_judgement, column="annotator", on_bad_row=on_bad_row, only_submitted=True)
    ratings = [judgement for judgement in judgements if isinstance(judgement, Rating)]
    comparisons = [judgement for judgement in judgements if isinstance(judgement, list)]
    if ratings and comparisons:
        raise InputError(f"{path}: some rows have a 'rating' and some a comparison; put them into two files")
    return ratings or [comparison for group in comparisons for comparison in group]


def _read_judgement(row: Row) -> Rating | list[Comparison]:
    """Returns a row's rating, or its comparison: one a pair where a ranking has ties. InputError says what is wrong."""
    require_columns(row.values, ["annotator"])
    annotator = row.values["annotator"]
    if fault := find_text_fault(annotator):
        raise InputError(f"column 'annotator' {fault}")
    if not annotator.strip():
        raise InputError("column 'annotator' is empty")
    time = _read_time(row.values)
    if is_given(row.values.get("rating")):
        rating = read_rated_completion(row)
        return Rating(annotator, _prompt_text(rating.prompt), rating.completion, rating.rating, time)
    preference = read_preference(row)
    if len(set(preference.ranking)) < len(preference.ranking):
        raise InputError("'ranking' holds the same text twice")
    prompt, pairs = _prompt_text(preference.prompt), list(combinations(preference.ranking, 2))
    if len(pairs) == 1 or 0.5 not in preference.pair_probabilities:
        is_tie = preference.pair_probabilities[0] == 0.5 if len(pairs) == 1 else False
        return [Comparison(annotator, prompt, preference.ranking, is_tie, time)]
    return [
        Comparison(annotator, prompt, pair, probability == 0.5, time)
        for pair, probability in zip(pairs, preference.pair_probabilities, strict=True)
    ]


def _read_time(row: Mapping[str, Any]) -> float | None:
    """Reads `created_at`, None where it is not given; InputError where it is no time."""
    value = row.get("created_at")
    if not is_given(value):
        return None
    seconds = parse_number(value)
    if isfinite(seconds):
        return seconds
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except (ValueError, OverflowError):
        raise InputError(
            f"'created_at' must be seconds since 1970 or a date as in ISO 8601, got {value!r:.100}"
        ) from None


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
    return Rating(event.key.annotator, _prompt_text(item.prompt), item.completions[0], value, _event_time(event))


def _comparisons_of(event: LabelEvent, item: Item) -> Iterator[Comparison]:
    """Yields one comparison for a strict order of all completions, and one per pair where some are tied."""
    ranks = event.judgement.ranks or ()
    order = sorted(range(len(ranks)), key=ranks.__getitem__)
    is_strict = len(set(ranks)) == len(ranks)
    for places in [tuple(order)] if is_strict else combinations(order, 2):
        texts = tuple(item.completions[index] for index in places)
        tie = not is_strict and ranks[places[0]] == ranks[places[1]]
        yield Comparison(event.key.annotator, _prompt_text(item.prompt), texts, tie, _event_time(event))


def _prompt_text(prompt: Any) -> str:
    return prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False)


def _event_time(event: LabelEvent) -> float:
    return datetime.fromisoformat(event.created_at).timestamp()
