"""Preferences: rankings of completions of one prompt, read from and written to JSONL in TRL's columns."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textrl_env.errors import InputError
from textrl_env.rows import OnBadRow, read_rows


@dataclass(frozen=True)
class Preference:
    """Completions of one prompt, best first.

    Attributes:
        prompt: its text; may be empty where whole texts are compared.
        ranking: K >= 2 completions, best first.
        probability: how likely people prefer the first to the second of a pair, in [0.5, 1]; 1 for rankings.
        where: `file:row`, for messages.
        probabilities: for a ranking with a soft label of its own for every pair, see `pair_probabilities`; else None.
    """

    prompt: str
    ranking: tuple[str, ...]
    probability: float = 1.0
    where: str = ""
    probabilities: tuple[float, ...] | None = None

    @property
    def pair_probabilities(self) -> tuple[float, ...]:
        """How likely people prefer the earlier of each pair of the ranking: of 1st and 2nd, 1st and 3rd, and so on."""
        n_pairs = len(self.ranking) * (len(self.ranking) - 1) // 2
        return (self.probability,) * n_pairs if self.probabilities is None else self.probabilities


def preferences_of(rows: Iterable[Mapping[str, Any]]) -> list[Preference]:
    """From rows with `prompt`, `chosen`, `rejected`, and optionally `ranking`, `soft_label` and `tie`;
    or from `ranking` and `soft_labels`, one per pair of the ranking.

    Raises InputError naming the row where `ranking`, `soft_label` or `soft_labels` is not what it should be.
    """
    return [_preference(row, str(row.get("where", f"preference {index}"))) for index, row in enumerate(rows)]


def read_preferences(path: str | Path, *, on_bad_row: OnBadRow = "error") -> list[Preference]:
    """From a JSONL, JSON or CSV file with the columns of `preferences_of`; a completion may be empty.

    See `textrl_env.rows.read_rows` for the errors raised.
    """
    columns = ["chosen", "rejected"]
    rows = read_rows(path, text_columns=columns, may_be_empty=columns, optional=["prompt"], on_bad_row=on_bad_row)
    return [_preference(row.values, row.where) for row in rows]


def write_preferences(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """One JSON object a line, as `trl` and `datasets` read it; returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def _preference(row: Mapping[str, Any], where: str) -> Preference:
    ranking: Any = row.get("ranking")
    if ranking is None:
        ranking = [row["chosen"], row["rejected"]]
    if not isinstance(ranking, Sequence) or isinstance(ranking, str) or not all(isinstance(x, str) for x in ranking):
        raise InputError(f"{where}: 'ranking' must be a list of texts, best first; got {ranking!r:.100}")
    if len(ranking) < 2:
        raise InputError(f"{where}: 'ranking' must hold two completions or more, got {len(ranking)}")
    if row.get("tie") not in (None, True, False):
        # A CSV file holds the word "False", which is true in Python.
        raise InputError(f"{where}: 'tie' must be true or false, got {row['tie']!r:.100}")
    probability = 0.5 if row.get("tie") else row.get("soft_label", 1.0)
    number = isinstance(probability, int | float) and math.isfinite(probability)
    if not number or not 0.5 <= probability <= 1:
        raise InputError(f"{where}: 'soft_label' must be a number in [0.5, 1], got {probability!r}")
    if probability < 1 and len(ranking) > 2:
        raise InputError(f"{where}: 'soft_label' and 'tie' speak of a pair, this row ranks {len(ranking)} completions")
    labels = row.get("soft_labels")
    if labels is not None:
        n_pairs = len(ranking) * (len(ranking) - 1) // 2
        numbers = isinstance(labels, Sequence) and all(isinstance(x, int | float) and 0 <= x <= 1 for x in labels)
        if not numbers or len(labels) != n_pairs:
            raise InputError(f"{where}: 'soft_labels' must be {n_pairs} numbers in [0, 1], got {labels!r:.100}")
        labels = tuple(map(float, labels))
    return Preference(row.get("prompt", ""), tuple(ranking), float(probability), where, labels)
