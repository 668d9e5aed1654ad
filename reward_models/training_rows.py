"""Rows that reward models are trained on: preferences, or ratings, which are points for single completions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textrl_env.data import OnBadRow, Row
from textrl_env.data.columns import Conversation, is_given, read_number, split_row
from textrl_env.data.rows import collect, parse_rows, place_rows, read_each, require_columns
from textrl_env.errors import InputError
from textrl_env.reward_models.preferences import (
    Preference,
    read_preference,
    read_preferences,
    read_weight,
)


@dataclass(frozen=True)
class RatedCompletion:
    """A completion of a prompt and the points that it was given.

    Attributes:
        prompt: its text, which may be empty where whole texts are rated, or its messages.
        completion: its text.
        rating: points, more is better; on any scale.
        weight: how much the row counts beside others, 0 or more.
        where: `file:row`, for messages.
    """

    prompt: str | Conversation
    completion: str
    rating: float
    weight: float = 1.0
    where: str = ""


TrainingRow = Preference | RatedCompletion


def completions_of(row: TrainingRow) -> tuple[str, ...]:
    """Returns the texts of a row, a ranking's best first."""
    return row.ranking if isinstance(row, Preference) else (row.completion,)


def rated_completions_of(
    rows: Iterable[Mapping[str, Any] | RatedCompletion], *, on_bad_row: OnBadRow = "error"
) -> list[RatedCompletion]:
    """Makes rated completions of rows with `completion`, `rating`, and optionally `prompt` and `weight`.

    InputError names bad rows by their place; see `preferences_of`.
    """
    items = place_rows(rows, name="rating")
    return [] if not items else collect(items, _take_rating, source="ratings", on_bad_row=on_bad_row)


def training_rows_of(
    rows: Iterable[Mapping[str, Any] | TrainingRow], *, on_bad_row: OnBadRow = "error"
) -> list[TrainingRow]:
    """Makes ratings of rows with a `rating`, and preferences of others; InputError names bad rows by their place."""
    items = place_rows(rows, name="row")
    return [] if not items else collect(items, _take_training_row, source="training rows", on_bad_row=on_bad_row)


def read_rated_completions(path: str | Path, *, on_bad_row: OnBadRow = "error") -> list[RatedCompletion]:
    """Reads a file with the columns of `rated_completions_of`, as `read_preferences` reads its own."""
    return read_each(path, read_rated_completion, column="completion", on_bad_row=on_bad_row, only_submitted=True)


def read_training_rows(path: str | Path, *, on_bad_row: OnBadRow = "error") -> list[TrainingRow]:
    """Reads ratings where the first readable row has a `rating`, else preferences; the other kind are bad rows."""
    first: Mapping[str, Any] = next((row for _, row in parse_rows(path, "prompt") if isinstance(row, Mapping)), {})
    if "rating" in first:
        return list(read_rated_completions(path, on_bad_row=on_bad_row))
    return list(read_preferences(path, on_bad_row=on_bad_row))


def read_rated_completion(row: Row | Any) -> RatedCompletion:
    """Makes a rated completion of a row; InputError says what is wrong with it."""
    require_columns(row.values if isinstance(row, Row) else row, ["completion"])
    prompt, (text,) = split_row(row.values, ["completion"])
    rating = read_number(row.values, "rating")
    if rating is None:
        raise InputError(f"'rating' must be a number, got {row.values.get('rating')!r:.100}")
    return RatedCompletion(prompt, text, rating, read_weight(row.values), row.where)


def _take_rating(row: Row | Any) -> RatedCompletion:
    return row if isinstance(row, RatedCompletion) else read_rated_completion(row)


def _take_training_row(row: Row | Any) -> TrainingRow:
    if isinstance(row, Preference | RatedCompletion):
        return row
    is_rating = isinstance(row, Row) and is_given(row.values.get("rating"))
    return read_rated_completion(row) if is_rating else read_preference(row)
