"""Preferences: rankings of completions of one prompt, in TRL's columns: of rows in memory, read from files, written."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textrl_env.data import OnBadRow, Row
from textrl_env.data.columns import Conversation, is_given, parse_number, read_flag, read_list, read_number
from textrl_env.data.rows import collect, place_rows, read_each
from textrl_env.errors import InputError
from textrl_env.files import write_text
from textrl_env.reward_models.rankings import RankedTexts, read_ranking


@dataclass(frozen=True)
class Preference:
    """Completions of one prompt, best first.

    Attributes:
        prompt: its text, which may be empty where whole texts are compared, or its messages.
        ranking: K >= 2 completions, best first.
        probability: how likely people prefer the first to the second of a pair, in [0.5, 1]; 1 for rankings.
        where: `file:row`, for messages.
        probabilities: for a ranking with a soft label of its own for every pair, see `pair_probabilities`; else None.
        margin: by how much the first of a pair should score higher than the second; 0 for rankings.
        weight: how much the row counts beside others, 0 or more.
    """

    prompt: str | Conversation
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


def preferences_of(
    rows: Iterable[Mapping[str, Any] | Preference], *, on_bad_row: OnBadRow = "error"
) -> list[Preference]:
    """Makes preferences of rows with the columns of TRL.

    Args:
        rows: with `prompt`, `chosen`, `rejected`, and optionally `ranking`, `soft_label`, `tie`, `margin`, `weight`;
            or with `ranking` and `soft_labels`, one per pair of the ranking. Prompts and completions are texts or
            messages, see `textrl_env.data.columns.split_prompt`. A `ranking` is best first, or a list of
            `{"value": …, "rank": …}`, where the value is a text or the name of a column with it, and equal ranks are
            ties. `where` names the row in messages.
        on_bad_row: as for `textrl_env.data.read_rows`.

    Raises:
        InputError: no usable row, or rows in which one of these is not as it should be, by their place.
    """
    items = place_rows(rows, name="preference")
    return [] if not items else collect(items, _take_preference, source="preferences", on_bad_row=on_bad_row)


def read_preferences(path: str | Path, *, on_bad_row: OnBadRow = "error") -> list[Preference]:
    """Reads a file with the columns of `preferences_of`; a completion may be empty.

    Rows whose `status` says that nobody submitted them are left out, with a warning. See `textrl_env.data.read_rows`
    for the formats and errors.
    """
    return read_each(path, read_preference, column="chosen", on_bad_row=on_bad_row, only_submitted=True)


def preference_rows(path: str | Path, *, on_bad_row: OnBadRow = "error") -> list[Row]:
    """Reads the rows that `read_preferences` makes preferences of, with all their columns."""

    def read(row: Row) -> Row:
        read_preference(row)
        return row

    return read_each(path, read, column="chosen", on_bad_row=on_bad_row, only_submitted=True)


def _take_preference(row: Row | Any) -> Preference:
    return row if isinstance(row, Preference) else read_preference(row)


def read_preference(row: Row | Any) -> Preference:
    """Makes a preference of a row; InputError says what is wrong with it."""
    if not isinstance(row, Row) or not isinstance(row.values, Mapping):
        value = row.values if isinstance(row, Row) else row
        raise InputError(f"expected an object with columns 'chosen', 'rejected', got {type(value).__name__}")
    values = row.values
    ranking = read_ranking(values)
    probability = _read_probability(values, ranking)
    return Preference(
        ranking.prompt,
        ranking.texts,
        probability,
        row.where,
        _read_probabilities(values, ranking),
        margin=_read_margin(values, len(ranking.texts)),
        weight=read_weight(values),
    )


def write_preferences(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Writes one JSON object a line, as `trl` and `datasets` read it, all or none; returns the path."""
    return write_text(path, "".join(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows))


def _read_probability(row: Mapping[str, Any], ranking: RankedTexts) -> float:
    """Returns how likely people prefer the first of a pair; 1 for rankings."""
    tie, label = read_flag(row, "tie"), read_number(row, "soft_label")
    if label is not None and not 0.5 <= label <= 1:
        raise InputError(f"'soft_label' must be a number in [0.5, 1], got {row['soft_label']!r:.100}")
    if tie and label not in (None, 0.5):
        raise InputError(f"'tie' is true, but 'soft_label' is {label}; a tie has 0.5")
    probability = 0.5 if tie else 1.0 if label is None else label
    if len(ranking.texts) > 2 and probability < 1:
        raise InputError(f"'soft_label' and 'tie' speak of a pair, this row ranks {len(ranking.texts)} completions")
    if len(ranking.texts) == 2 and ranking.probabilities == (0.5,):
        if probability not in (0.5, 1.0) or tie is False:
            raise InputError("'ranking' has a tie, but 'soft_label' or 'tie' says otherwise")
        return 0.5
    return probability


def _read_probabilities(row: Mapping[str, Any], ranking: RankedTexts) -> tuple[float, ...] | None:
    """Returns a soft label for every pair, where the row has them or its ranking has ties."""
    values = read_list(row, "soft_labels")
    if values is None:
        return ranking.probabilities
    labels = tuple(map(parse_number, values))
    n_pairs = len(ranking.texts) * (len(ranking.texts) - 1) // 2
    if len(labels) != n_pairs or not all(0 <= label <= 1 for label in labels):
        raise InputError(f"'soft_labels' must be {n_pairs} numbers in [0, 1], got {values!r:.100}")
    label = read_number(row, "soft_label")
    if ranking.probabilities not in (None, labels) or (label is not None and labels != (label,)):
        raise InputError("'soft_labels' says something else than 'soft_label' or the ties of 'ranking'; leave one out")
    return labels


def _read_margin(row: Mapping[str, Any], n_ranked: int) -> float:
    margin = read_number(row, "margin") or 0.0
    if margin and n_ranked > 2:
        raise InputError(f"'margin' speaks of a pair, this row ranks {n_ranked} completions")
    return margin


def read_weight(row: Mapping[str, Any]) -> float:
    """Returns a row's `weight`, 1 where it is not given; InputError where it is no number of 0 or more."""
    value = row.get("weight")
    weight = parse_number(value) if is_given(value) else 1.0
    if not 0 <= weight < math.inf:
        raise InputError(f"'weight' must be a number of 0 or more, got {value!r:.100}")
    return weight
