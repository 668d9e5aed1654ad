"""Groups of rows by an attribute, and weights or samples in which small groups count as much as large ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from textrl_env.errors import InputError, require_at_least

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Attribute = str | Callable[[Mapping[str, Any]], Any]
AnyRow = TypeVar("AnyRow")
MAX_SLICES = 100
"""An attribute with more values than this is no grouping; 100 slices have 4950 gaps."""
NOTHING = "(none)"
"""The slice of rows without the attribute."""


@dataclass(frozen=True)
class SliceIndex:
    """Slices of N units; `names` are the S values as texts, sorted, `index` (N,) is each unit's place among them."""

    names: tuple[str, ...]
    index: IntArray

    @property
    def counts(self) -> IntArray:
        """Units of each slice, (S,)."""
        return np.bincount(self.index, minlength=len(self.names))

    def repeat(self, times: Sequence[int] | IntArray) -> "SliceIndex":
        """Repeats each unit as often as `times` (N,) says: from rows to their pairs, for example."""
        return SliceIndex(self.names, np.repeat(self.index, np.asarray(times, dtype=np.int64)))


def slices_of(rows: Sequence[Mapping[str, Any]], by: Attribute) -> SliceIndex:
    """Groups rows by a column, or by a function's value of a row.

    Raises:
        InputError: no row has the column, or there are more than `MAX_SLICES` values.
    """
    if isinstance(by, str):
        if rows and not any(by in row for row in rows):
            raise InputError(f"no row has a column {by!r} to slice by (found: {', '.join(rows[0])})")
        values = [row.get(by) for row in rows]
    else:
        values = [by(row) for row in rows]
    names, index = np.unique([NOTHING if value is None else str(value) for value in values], return_inverse=True)
    if len(names) > MAX_SLICES:
        raise InputError(
            f"{by!r} has {len(names)} different values, slices need {MAX_SLICES} or fewer; take a coarser attribute"
        )
    return SliceIndex(tuple(names.tolist()), np.asarray(index, dtype=np.int64))


def number_clusters(values: Sequence[Any]) -> IntArray:
    """Numbers N values from 0, equal ones alike: (N,). Values are prompts, for example; their numbers are clusters."""
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)


def balancing_weights(slices: SliceIndex, *, cap: float = 10.0) -> FloatArray:
    """Computes a weight per row, inverse to the size of its slice, 1 on average: (N,).

    w_s is proportional to min(n_largest / n_s, cap): without the cap every slice weighs the same, with it the rows of a
    tiny slice, and whatever is wrong with them, do not decide everything.

    Args:
        slices: of the N rows.
        cap: the largest weight over the smallest, at least 1.
    """
    require_at_least(1, cap=cap)
    counts = np.maximum(slices.counts, 1)
    factors = np.minimum(counts.max() / counts, cap)[slices.index]
    return np.asarray(factors / factors.mean())


def balanced_rows(
    rows: Sequence[AnyRow], slices: SliceIndex, *, rng: np.random.Generator, cap: float = 10.0
) -> list[AnyRow]:
    """Draws as many rows as there are, those of small slices several times, with large slices thinned out, shuffled.

    Each slice has the share of rows that `balancing_weights` gives it. Within a slice every row occurs equally often,
    give or take one.
    """
    shares = np.bincount(slices.index, balancing_weights(slices, cap=cap), len(slices.names))
    # Rounded so that they add up: each slice gets the whole part, the largest remainders one more.
    sizes = np.floor(shares + 1e-9).astype(np.int64)
    short = np.argsort(-(shares - sizes), kind="stable")[: len(rows) - int(sizes.sum())]
    sizes[short] += 1
    sample: list[int] = []
    for number, size in enumerate(sizes.tolist()):
        members = np.flatnonzero(slices.index == number)
        if size:
            passes = [rng.permutation(members) for _ in range(-(-size // len(members)))]
            sample += np.concatenate(passes)[:size].tolist()
    return [rows[index] for index in rng.permutation(sample).tolist()]
