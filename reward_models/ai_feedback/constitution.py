"""The constitution: principles that AI feedback goes by, a row of a file each (Bai et al. 2022)."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from textrl_env.data import read_rows
from textrl_env.data.columns import is_given, parse_number
from textrl_env.errors import InputError
from textrl_env.reward_models.ai_feedback.rules import RULES

COLUMNS = ("id", "principle", "weight", "rule")
MAX_LENGTH = 2000
"""Characters of a principle."""


@dataclass(frozen=True)
class Principle:
    """A rule of conduct: it says what a good reply does, in words that a judge reads.

    Attributes:
        id: letters, digits, `_`, `-` and `.`; goes into the column `principle` of the labels.
        text: the principle.
        weight: how often it is drawn, beside the others' weights; above 0.
        rule: the name of the rule (`textrl_env.reward_models.ai_feedback.rules`) that checks it without a model.
    """

    id: str
    text: str
    weight: float = 1.0
    rule: str | None = None


@dataclass(frozen=True)
class Constitution:
    """Principles with different ids, one at least."""

    principles: tuple[Principle, ...]

    def draw(self, n: int, rng: np.random.Generator, *, each: int = 1) -> list[list[Principle]]:
        """Draws `each` different principles for each of n comparisons, by weight; InputError where there are fewer."""
        if not 1 <= each <= len(self.principles):
            raise InputError(f"the constitution has {len(self.principles)} principles to draw from, got each={each}")
        weights = np.array([principle.weight for principle in self.principles])
        chances = weights / weights.sum()
        draws = (rng.choice(len(weights), size=each, replace=False, p=chances) for _ in range(n))
        return [[self.principles[index] for index in indices] for indices in draws]


def read_constitution(path: str | Path) -> Constitution:
    """Reads JSONL, or any other file that `textrl_env.data.read_rows` knows; in a `.txt` each line is a principle.

    Columns: `principle`, and optionally `id` (by default principle-1, principle-2, …), `weight` and `rule`. Rows are
    text and stay text: a rule is named, and its code is the program's.

    Raises:
        InputError: names `file:line` and what is wrong there; see `read_rows`.
    """
    ids: set[str] = set()
    rows = read_rows(
        path,
        text_columns=["principle"],
        optional=["id"],
        fault_of=lambda row: _find_fault(row, ids),
        skippable=False,
    )
    return Constitution(
        tuple(
            Principle(
                row.values.get("id") or f"principle-{position}",
                row.values["principle"].strip(),
                _read_weight(row.values),
                row.values.get("rule") or None,
            )
            for position, row in enumerate(rows, start=1)
        )
    )


def support_desk_constitution() -> Constitution:
    """Returns the constitution that ships with the package: five principles of a support desk, each with a rule."""
    return read_constitution(Path(str(files("textrl_env.reward_models.ai_feedback") / "support_desk.jsonl")))


def _find_fault(row: Mapping[str, Any], ids: set[str]) -> str | None:
    """Says what is wrong with a row whose `principle` is a text; remembers its id in `ids`."""
    if unknown := [name for name in row if name not in COLUMNS]:
        return f"no column is called {unknown[0]!r:.60}; expected {', '.join(map(repr, COLUMNS))}"
    if len(row["principle"]) > MAX_LENGTH:
        return f"'principle' has {len(row['principle'])} characters, at most {MAX_LENGTH} fit"
    if (name := row.get("id")) is not None and is_given(name):
        if not re.fullmatch(r"[-.\w]{1,60}", name):
            return f"'id' must be 1 to 60 letters, digits, '_', '-' or '.', got {name!r:.80}"
        if name in ids:
            return f"'id' {name!r} is there twice"
        ids.add(name)
    if not 0 < _read_weight(row) < math.inf:
        return f"'weight' must be a number above 0, got {row['weight']!r:.60}"
    if (rule := row.get("rule") or None) is not None and (not isinstance(rule, str) or rule not in RULES):
        return f"'rule' must be one of {', '.join(sorted(RULES))}, got {rule!r:.60}"
    return None


def _read_weight(row: Mapping[str, Any]) -> float:
    """Returns the number in `weight`, 1 where it is not given, NaN where it is none."""
    value = row.get("weight")
    return parse_number(value) if is_given(value) else 1.0
