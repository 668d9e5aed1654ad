"""Preferences: rankings of completions of one prompt, read from and written to JSONL in TRL's columns."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textrl_env.data import OnBadRow, Row, iterate_rows, read_rows
from textrl_env.errors import InputError


@dataclass(frozen=True)
class Preference:
    """Completions of one prompt, best first.

    Attributes:
        prompt: its text; may be empty where whole texts are compared.
        ranking: K >= 2 completions, best first.
        probability: how likely people prefer the first to the second of a pair, in [0.5, 1]; 1 for rankings.
        where: `file:row`, for messages.
        probabilities: for a ranking with a soft label of its own for every pair, see `pair_probabilities`; else None.
        margin: by how much the first of a pair should score higher than the second; 0 for rankings.
        weight: how much the row counts beside others, 0 or more.
    """

    prompt: str
    ranking: tuple[str, ...]
    probability: float = 1.0
    where: str = ""
    probabilities: tuple[float, ...] | None = None
    margin: float = 0.0
    weight: float = 1.0

    @property
    def pair_probabilities(self) -> tuple[float, ...]:
        """Probability that people prefer the earlier of each pair of the ranking: of 1st and 2nd, 1st and 3rd, ..."""
        n_pairs = len(self.ranking) * (len(self.ranking) - 1) // 2
        return (self.probability,) * n_pairs if self.probabilities is None else self.probabilities


def preferences_of(rows: Iterable[Mapping[str, Any]]) -> list[Preference]:
    """Makes preferences of rows with the columns of TRL.

    Args:
        rows: with `prompt`, `chosen`, `rejected`, and optionally `ranking`, `soft_label`, `tie`, `margin`, `weight`;
            or with `ranking` and `soft_labels`, one per pair of the ranking; in any container that
            `textrl_env.data.iterate_rows` reads.

    Raises:
        InputError: names the row where one of these is not as it should be.
    """
    preferences = []
    for index, row in enumerate(iterate_rows(rows, name="preferences")):
        where = str(row.get("where", f"preference {index}"))
        if fault := _fault(row):
            raise InputError(f"{where}: {fault}")
        preferences.append(_preference(row, where))
    return preferences


def read_preferences(path: str | Path, *, on_bad_row: OnBadRow = "error") -> list[Preference]:
    """Reads a JSONL, JSON or CSV file with the columns of `preferences_of`; a completion may be empty.

    See `textrl_env.data.read_rows` for the errors raised.
    """
    return [_preference(row.values, row.where) for row in preference_rows(path, on_bad_row=on_bad_row)]


def preference_rows(path: str | Path, *, on_bad_row: OnBadRow = "error") -> list[Row]:
    """Reads the rows that `read_preferences` makes preferences of, with all their columns."""
    columns = ["chosen", "rejected"]
    return read_rows(
        path, text_columns=columns, may_be_empty=columns, optional=["prompt"], fault_of=_fault, on_bad_row=on_bad_row
    )


def write_preferences(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Writes one JSON object a line, as `trl` and `datasets` read it; returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def _fault(row: Mapping[str, Any]) -> str | None:
    """Describes the fault of a row's columns beside the prompt, or returns None."""
    if fault := _ranking_fault(row):
        return fault
    n_ranked = len(_ranking(row))
    faults = _soft_label_fault(row, n_ranked), _soft_labels_fault(row, n_ranked), _margin_fault(row, n_ranked)
    return next(filter(None, faults), None) or weight_fault(row)


def _ranking(row: Mapping[str, Any]) -> Any:
    ranking = row.get("ranking")
    return [row["chosen"], row["rejected"]] if ranking is None else ranking


def _ranking_fault(row: Mapping[str, Any]) -> str | None:
    ranking = _ranking(row)
    if row.get("ranking") is None and ranking[0] == ranking[1]:
        return "'chosen' and 'rejected' are the same text"
    if not isinstance(ranking, Sequence) or isinstance(ranking, str) or not all(isinstance(x, str) for x in ranking):
        return f"'ranking' must be a list of texts, best first; got {ranking!r:.100}"
    return f"'ranking' must hold two completions or more, got {len(ranking)}" if len(ranking) < 2 else None


def _soft_label_fault(row: Mapping[str, Any], n_ranked: int) -> str | None:
    if row.get("tie") not in (None, True, False):
        # A CSV file holds the word "False", which is true in Python.
        return f"'tie' must be true or false, got {row['tie']!r:.100}"
    probability = _probability(row)
    finite = isinstance(probability, int | float) and math.isfinite(probability)
    if not finite or not 0.5 <= probability <= 1:
        return f"'soft_label' must be a number in [0.5, 1], got {probability!r}"
    if probability < 1 and n_ranked > 2:
        return f"'soft_label' and 'tie' speak of a pair, this row ranks {n_ranked} completions"
    return None


def _soft_labels_fault(row: Mapping[str, Any], n_ranked: int) -> str | None:
    labels = row.get("soft_labels")
    if labels is None:
        return None
    n_pairs = n_ranked * (n_ranked - 1) // 2
    numbers = isinstance(labels, Sequence) and all(isinstance(x, int | float) and 0 <= x <= 1 for x in labels)
    if numbers and len(labels) == n_pairs:
        return None
    return f"'soft_labels' must be {n_pairs} numbers in [0, 1], got {labels!r:.100}"


def _margin_fault(row: Mapping[str, Any], n_ranked: int) -> str | None:
    margin = row.get("margin")
    if margin is None:
        return None
    if not math.isfinite(parse_number(margin)):
        return f"'margin' must be a number, got {margin!r:.100}"
    if parse_number(margin) and n_ranked > 2:
        return f"'margin' speaks of a pair, this row ranks {n_ranked} completions"
    return None


def weight_fault(row: Mapping[str, Any]) -> str | None:
    """Describes the fault of a row's `weight`, or returns None; it may be missing."""
    weight = row.get("weight")
    if weight is None or 0 <= parse_number(weight) < math.inf:
        return None
    return f"'weight' must be a number of 0 or more, got {weight!r:.100}"


def parse_number(value: Any) -> float:
    """Parses a value of a column of numbers, which a CSV file has as texts; NaN where it is none."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return math.nan


def _probability(row: Mapping[str, Any]) -> Any:
    return 0.5 if row.get("tie") else row.get("soft_label", 1.0)


def _preference(row: Mapping[str, Any], where: str) -> Preference:
    labels, margin, weight = row.get("soft_labels"), row.get("margin"), row.get("weight")
    return Preference(
        row.get("prompt", ""),
        tuple(_ranking(row)),
        float(_probability(row)),
        where,
        None if labels is None else tuple(map(float, labels)),
        margin=0.0 if margin is None else parse_number(margin),
        weight=1.0 if weight is None else parse_number(weight),
    )
