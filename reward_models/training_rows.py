"""Rows that reward models are trained on: preferences, or ratings, which are points for single completions."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textrl_env.data import OnBadRow, find_text_fault, iterate_rows, parse_rows, read_rows
from textrl_env.errors import InputError
from textrl_env.reward_models.preferences import Preference, parse_number, read_preferences, weight_fault


@dataclass(frozen=True)
class RatedCompletion:
    """A completion of a prompt and the points that it was given.

    Attributes:
        prompt: its text; may be empty where whole texts are rated.
        completion: its text.
        rating: points, more is better; on any scale.
        weight: how much the row counts beside others, 0 or more.
        where: `file:row`, for messages.
    """

    prompt: str
    completion: str
    rating: float
    weight: float = 1.0
    where: str = ""


TrainingRow = Preference | RatedCompletion


def completions_of(row: TrainingRow) -> tuple[str, ...]:
    """Returns the texts of a row, a ranking's best first."""
    return row.ranking if isinstance(row, Preference) else (row.completion,)


def rated_completions_of(rows: Iterable[Mapping[str, Any]]) -> list[RatedCompletion]:
    """Makes rated completions of rows with `completion`, `rating`, and optionally `prompt` and `weight`.

    They may be in any container that `textrl_env.data.iterate_rows` reads; InputError names a bad row.
    """
    ratings = []
    for index, row in enumerate(iterate_rows(rows, name="ratings")):
        where = str(row.get("where", f"rating {index}"))
        if fault := _text_fault(row) or _fault(row):
            raise InputError(f"{where}: {fault}")
        ratings.append(_rated_completion(row, where))
    return ratings


def read_rated_completions(path: str | Path, *, on_bad_row: OnBadRow = "error") -> list[RatedCompletion]:
    """Reads a JSONL, JSON or CSV file with the columns of `rated_completions_of`.

    See `textrl_env.data.read_rows` for the errors raised.
    """
    columns = ["completion"]
    rows = read_rows(
        path, text_columns=columns, may_be_empty=columns, optional=["prompt"], fault_of=_fault, on_bad_row=on_bad_row
    )
    return [_rated_completion(row.values, row.where) for row in rows]


def read_training_rows(path: str | Path, *, on_bad_row: OnBadRow = "error") -> list[TrainingRow]:
    """Reads ratings where the first readable row has a `rating`, else preferences; the other kind are bad rows."""
    first: Mapping[str, Any] = next((row for _, row in parse_rows(path, "prompt") if isinstance(row, Mapping)), {})
    if "rating" in first:
        return list(read_rated_completions(path, on_bad_row=on_bad_row))
    return list(read_preferences(path, on_bad_row=on_bad_row))


def _text_fault(row: Mapping[str, Any]) -> str | None:
    for column in ("completion", *(name for name in ("prompt",) if name in row)):
        if fault := find_text_fault(row.get(column)):
            return f"column {column!r} {fault}"
    return None


def _fault(row: Mapping[str, Any]) -> str | None:
    if not math.isfinite(parse_number(row.get("rating"))):
        return f"'rating' must be a number, got {row.get('rating')!r:.100}"
    return weight_fault(row)


def _rated_completion(row: Mapping[str, Any], where: str) -> RatedCompletion:
    weight = 1.0 if row.get("weight") is None else parse_number(row["weight"])
    return RatedCompletion(row.get("prompt", ""), row["completion"], parse_number(row["rating"]), weight, where)
