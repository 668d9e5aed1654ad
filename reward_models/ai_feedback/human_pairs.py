"""People's preferences as pairs that a judge can be held against."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from textrl_env.data import OnBadRow, read_rows
from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.desk import Item
from textrl_env.reward_models.preferences import preferences_of


@dataclass(frozen=True)
class HumanPairs:
    """What people said of N pairs of replies, and the M rows they stand in.

    Attributes:
        items: N pairs; the reply that comes first in the alphabet is the first, so that the order tells nothing.
        signs: N, 1 where people prefer the first, -1 where they prefer the second, 0 for a tie.
        columns: N values each of the columns that were asked for.
        rows: the file's.
    """

    items: tuple[Item, ...]
    signs: tuple[int, ...]
    columns: dict[str, tuple[Any, ...]]
    rows: tuple[dict[str, Any], ...]


def read_human_pairs(path: Path, *, columns: Sequence[str] = (), on_bad_row: OnBadRow = "error") -> HumanPairs:
    """From a file of preferences (columns as of `read_preferences`); a ranking of K gives K (K - 1) / 2 pairs.

    Args:
        columns: further columns that every row has.

    Raises:
        InputError: see `textrl_env.data.rows.read_rows`.
    """
    texts = ["prompt", "chosen", "rejected"]
    read = read_rows(path, text_columns=texts, may_be_empty=texts, fault_of=_fault_of(columns), on_bad_row=on_bad_row)
    items, signs, owners = [], [], []
    for row in read:
        (preference,) = preferences_of([{**row.values, "where": row.where}])
        for (better, worse), p in zip(combinations(preference.ranking, 2), preference.pair_probabilities, strict=True):
            if better == worse:
                continue
            sign = 0 if p == 0.5 else 1 if (p > 0.5) == (better < worse) else -1
            items.append(Item("pair", preference.prompt, (min(better, worse), max(better, worse))))
            signs.append(sign)
            owners.append(row)
    return HumanPairs(
        tuple(items),
        tuple(signs),
        {name: tuple(row.values[name] for row in owners) for name in columns},
        tuple(dict(row.values) for row in read),
    )


def _fault_of(columns: Sequence[str]) -> Callable[[Mapping[str, Any]], str | None]:
    def fault(row: Mapping[str, Any]) -> str | None:
        if missing := [name for name in columns if name not in row]:
            return f"no column {missing[0]!r} to slice by (found: {', '.join(map(repr, row))})"
        try:
            preferences_of([{**row, "where": "row"}])
        except InputError as error:
            return str(error).removeprefix("row: ")
        return None

    return fault
