"""Judgements: who preferred what, or gave which rating, and when; read from JSONL."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import Any

from textrl_env.data import read_rows
from textrl_env.errors import InputError
from textrl_env.reward_models.preferences import preferences_of


@dataclass(frozen=True)
class Comparison:
    """One rater's order of completions of one prompt.

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
    """One rater's score of one completion; those of one prompt and one rater can be compared with each other."""

    annotator: str
    prompt: str
    completion: str
    value: float
    time: float | None = None


def read_judgements(path: str | Path) -> list[Comparison] | list[Rating]:
    """From a JSONL, JSON or CSV file with a column `annotator`, and optionally `prompt` and `created_at`.

    Comparisons have the columns of `read_preferences` (`chosen` and `rejected`, or `ranking`; `tie`), ratings have
    `completion` and `rating`. `created_at` is seconds since 1970 or a date and time as in ISO 8601.

    Raises:
        InputError: as `textrl_env.data.rows.read_rows`, naming `file:line`; also where a file mixes the two kinds.
    """
    rows = read_rows(path, text_columns=["annotator"], optional=["prompt"], fault_of=_fault)
    of_ratings = {"rating" in row.values for row in rows}
    if len(of_ratings) > 1:
        raise InputError(f"{path}: some rows have a 'rating' and some a comparison; put them into two files")
    if of_ratings.pop():
        return [
            Rating(r["annotator"], r.get("prompt", ""), r["completion"], float(r["rating"]), _time(r))
            for r in (row.values for row in rows)
        ]
    preferences = preferences_of({**row.values, "where": row.where} for row in rows)
    return [
        Comparison(r["annotator"], p.prompt, p.ranking, bool(r.get("tie")), _time(r))
        for p, r in zip(preferences, (row.values for row in rows), strict=True)
    ]


def _fault(row: Mapping[str, Any]) -> str | None:
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
        _time(row)
    except ValueError:
        return f"'created_at' must be seconds since 1970 or a date as in ISO 8601, got {row['created_at']!r:.100}"
    return None


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _time(row: Mapping[str, Any]) -> float | None:
    """ValueError where `created_at` is no time."""
    given = row.get("created_at")
    if given is None:
        return None
    seconds = _number(given)
    return seconds if isfinite(seconds) else datetime.fromisoformat(str(given)).timestamp()
