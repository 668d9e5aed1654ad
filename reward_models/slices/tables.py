"""Slices of data by an attribute: a mean of each, how far slices lie apart, and intervals for both.

Units that belong together (pairs of one prompt) are drawn together by the bootstrap, as clusters.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from textrl_env.errors import InputError, require_at_least
from textrl_env.stats import draw_clusters, percentile_interval

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Attribute = str | Callable[[Mapping[str, Any]], Any]
MAX_SLICES = 100
"""An attribute with more values than this is no grouping; 100 slices have 4950 gaps."""
MIN_CLUSTERS = 10
"""A slice of fewer clusters gets no interval, which the bootstrap would make too narrow, and takes part in no gap."""
NOTHING = "(none)"
"""The slice of rows without the attribute."""


@dataclass(frozen=True)
class Slices:
    """N units in S slices; `names` are the S values as texts, sorted, `index` (N,) is each unit's place among them."""

    names: tuple[str, ...]
    index: IntArray

    @property
    def counts(self) -> IntArray:
        """Units of each slice, (S,)."""
        return np.bincount(self.index, minlength=len(self.names))

    def repeated(self, times: Sequence[int] | IntArray) -> "Slices":
        """Each unit as often as `times` (N,) says: from rows to their pairs, for example."""
        return Slices(self.names, np.repeat(self.index, np.asarray(times, dtype=np.int64)))


@dataclass(frozen=True)
class SliceLine:
    """One slice: its number of units and of clusters, the mean and its interval (NaN below `MIN_CLUSTERS`)."""

    name: str
    count: int
    n_clusters: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Gap:
    """The largest difference between two slices, `highest` minus `lowest`.

    The interval holds all pairwise differences at once, so that the choice of the largest is paid for: if it leaves out
    0, the slices differ.
    """

    highest: str
    lowest: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class SliceTable:
    """All slices in the order of their names; `gap` is None where fewer than two have `MIN_CLUSTERS`."""

    lines: tuple[SliceLine, ...]
    gap: Gap | None


def slices_of(rows: Sequence[Mapping[str, Any]], by: Attribute) -> Slices:
    """Groups rows by a column, or by what a function says of a row.

    Raises InputError: no row has the column, or there are more than `MAX_SLICES` values.
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
    return Slices(tuple(names.tolist()), np.asarray(index, dtype=np.int64))


def numbered(values: Sequence[Any]) -> IntArray:
    """(N,) whole numbers from 0, equal where the values are; of prompts they are the clusters."""
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)


def slice_means(
    values: ArrayLike,
    slices: Slices,
    cluster: IntArray,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> SliceTable:
    """The mean of each slice's units: of 0 and 1 for "ordered as preferred" it is an accuracy, of scores a reward.

    Args:
        values: (N,), finite.
        slices: of the N units.
        cluster: (N,) whole numbers from 0, equal where units are not independent, such as pairs of one prompt.
        rng: of the bootstrap over clusters.
        confidence: in (0, 1).
        resamples: its draws.
    """
    cells = _cells(slices, cluster)
    sums = np.bincount(cells, np.asarray(values, dtype=np.float64), _n_cells(slices, cluster)).astype(np.float64)
    counts = np.bincount(cells, minlength=_n_cells(slices, cluster))
    shape = (-1, len(slices.names))
    return _table(
        sums.reshape(shape), counts.reshape(shape).astype(np.float64), counts.reshape(shape), slices,
        rng=rng, confidence=confidence, resamples=resamples,
    )  # fmt: skip


def slice_shares(
    slices: Slices, cluster: IntArray, *, rng: np.random.Generator, confidence: float = 0.95, resamples: int = 2000
) -> SliceTable:
    """The share of all units that each slice has. Arguments as of `slice_means`."""
    counts = np.bincount(_cells(slices, cluster), minlength=_n_cells(slices, cluster)).reshape(-1, len(slices.names))
    totals = np.broadcast_to(counts.sum(axis=1, keepdims=True), counts.shape)
    return _table(
        counts.astype(np.float64), totals.astype(np.float64), counts, slices,
        rng=rng, confidence=confidence, resamples=resamples,
    )  # fmt: skip


def _n_cells(slices: Slices, cluster: IntArray) -> int:
    require_at_least(1, n_units=len(cluster))
    return int(cluster.max() + 1) * len(slices.names)


def _cells(slices: Slices, cluster: IntArray) -> IntArray:
    """(N,) each unit's place in a table of clusters by slices."""
    return np.asarray(cluster * len(slices.names) + slices.index)


def _table(
    above: FloatArray,
    below: FloatArray,
    counts: IntArray,
    slices: Slices,
    *,
    rng: np.random.Generator,
    confidence: float,
    resamples: int,
) -> SliceTable:
    """Ratios of sums over clusters, sum(above) / sum(below), each (clusters, S), with percentile intervals."""
    require_at_least(2, resamples=resamples)
    n_clusters = (counts > 0).sum(axis=0)
    with np.errstate(invalid="ignore"):
        values = above.sum(axis=0) / below.sum(axis=0)
        blocks = map(_counts, draw_clusters(len(above), rng=rng, resamples=resamples))
        draws = np.concatenate([(times @ above) / (times @ below) for times in blocks])
    large = np.flatnonzero(n_clusters >= MIN_CLUSTERS)
    low, high = np.full((2, len(values)), np.nan)
    if len(large):
        low[large], high[large] = percentile_interval(draws[:, large], confidence=confidence)
    lines = tuple(
        SliceLine(name, int(count), int(n), float(value), float(lower), float(upper))
        for name, count, n, value, lower, upper in zip(
            slices.names, counts.sum(axis=0), n_clusters, values, low, high, strict=True
        )
    )
    return SliceTable(lines, _largest_gap(values[large], draws[:, large], [slices.names[i] for i in large], confidence))


def _counts(drawn: IntArray) -> FloatArray:
    """Returns how often each of n clusters is in each draw: (block, n) -> (block, n)."""
    size, n = drawn.shape
    cells = drawn + n * np.arange(size)[:, None]
    return np.bincount(cells.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


def _largest_gap(values: FloatArray, draws: FloatArray, names: Sequence[str], confidence: float) -> Gap | None:
    """The largest gap with a simultaneous interval: d ± q s, q the quantile of max |d* - d| / s over all gaps.

    (Davison & Hinkley 1997, section 4.2.4; the studentised maximum of Romano & Wolf 2005.) Args: values: (S,); draws:
    (R, S) bootstrap replicates.
    """
    if len(values) < 2:
        return None
    largest = np.zeros(len(draws))
    for first, second in combinations(range(len(values)), 2):
        moved = draws[:, first] - draws[:, second] - (values[first] - values[second])
        spread = np.nanstd(moved)
        if spread > 0:
            largest = np.fmax(largest, np.abs(moved) / spread)
    top, bottom = int(values.argmax()), int(values.argmin())
    value = float(values[top] - values[bottom])
    half = float(np.quantile(largest, confidence) * np.nanstd(draws[:, top] - draws[:, bottom]))
    return Gap(names[top], names[bottom], value, value - half, value + half)
