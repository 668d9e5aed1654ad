"""Tables of slices: a mean of each, how far slices lie apart, and intervals for both.

Units that belong together (pairs of one prompt) are drawn together by the bootstrap, as clusters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from textrl_env.errors import require_count
from textrl_env.reward_models.measuring import pair_correctness, score_pairs
from textrl_env.reward_models.model import TextScorer
from textrl_env.reward_models.preferences import Preference
from textrl_env.reward_models.slices.grouping import FloatArray, IntArray, SliceIndex, number_clusters
from textrl_env.stats import draw_clusters, percentile_interval

MIN_CLUSTERS = 10
"""A slice of fewer clusters gets no interval, which the bootstrap would make too narrow, and takes part in no gap."""


@dataclass(frozen=True)
class SliceLine:
    """A slice: its number of units and of clusters, the mean and its interval (NaN below `MIN_CLUSTERS`)."""

    name: str
    count: int
    n_clusters: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class SliceGap:
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
    """Slices in the order of their names; `gap` is None where fewer than two have `MIN_CLUSTERS`."""

    lines: tuple[SliceLine, ...]
    gap: SliceGap | None


@dataclass(frozen=True)
class SliceGaps:
    """Accuracy and reward of each slice, with the largest gap.

    Attributes:
        accuracy: share of its pairs that are ordered as preferred.
        reward: mean score of its completions. Comparisons within a prompt leave open how high one prompt's completions
            score beside another's, so a gap need not be a fault; but means over prompts depend on it.
    """

    accuracy: SliceTable
    reward: SliceTable


def slice_means(
    values: ArrayLike,
    slices: SliceIndex,
    cluster: IntArray,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> SliceTable:
    """Computes the mean of each slice's units: of 0 and 1 for "ordered as preferred" an accuracy, of scores a reward.

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
    counts = counts.reshape(shape)
    ratio = sums.reshape(shape), counts.astype(np.float64)
    return _table(ratio, counts, slices, rng=rng, confidence=confidence, resamples=resamples)


def slice_shares(
    slices: SliceIndex, cluster: IntArray, *, rng: np.random.Generator, confidence: float = 0.95, resamples: int = 2000
) -> SliceTable:
    """Computes the share of all units that each slice has. Arguments as of `slice_means`."""
    counts = np.bincount(_cells(slices, cluster), minlength=_n_cells(slices, cluster)).reshape(-1, len(slices.names))
    totals = np.broadcast_to(counts.sum(axis=1, keepdims=True), counts.shape)
    ratio = counts.astype(np.float64), totals.astype(np.float64)
    return _table(ratio, counts, slices, rng=rng, confidence=confidence, resamples=resamples)


def slice_gaps(
    reward_model: TextScorer,
    preferences: Sequence[Preference],
    slices: SliceIndex,
    *,
    rng: np.random.Generator,
    resamples: int = 2000,
) -> SliceGaps:
    """Computes a reward model's accuracy and reward of each slice of held-out preferences.

    Args:
        reward_model: scores the preferences.
        preferences: N of them.
        slices: of the N preferences.
        rng: of the bootstrap over prompts.
        resamples: its draws.
    """
    pairs = score_pairs(reward_model, preferences)
    n_pairs = [len(preference.pair_probabilities) for preference in preferences]
    n_texts = [len(preference.ranking) for preference in preferences]
    scores = reward_model.score(
        [preference.prompt for preference in preferences for _ in preference.ranking],
        [text for preference in preferences for text in preference.ranking],
    )
    cluster = number_clusters([preference.prompt for preference in preferences])
    return SliceGaps(
        slice_means(
            pair_correctness(pairs), slices.repeat(n_pairs), np.repeat(cluster, n_pairs), rng=rng, resamples=resamples
        ),
        slice_means(scores, slices.repeat(n_texts), np.repeat(cluster, n_texts), rng=rng, resamples=resamples),
    )


def _n_cells(slices: SliceIndex, cluster: IntArray) -> int:
    require_count(1, n_units=len(cluster))
    return int(cluster.max() + 1) * len(slices.names)


def _cells(slices: SliceIndex, cluster: IntArray) -> IntArray:
    """Places of the units in a table of clusters by slices, (N,)."""
    return np.asarray(cluster * len(slices.names) + slices.index)


def _table(
    ratio: tuple[FloatArray, FloatArray],
    counts: IntArray,
    slices: SliceIndex,
    *,
    rng: np.random.Generator,
    confidence: float,
    resamples: int,
) -> SliceTable:
    """Makes a table of ratios of sums over clusters, both (clusters, S), with percentile intervals."""
    require_count(2, resamples=resamples)
    above, below = ratio
    n_clusters = (counts > 0).sum(axis=0)
    with np.errstate(invalid="ignore"):
        values = above.sum(axis=0) / below.sum(axis=0)
        blocks = map(_count_clusters, draw_clusters(len(above), rng=rng, resamples=resamples))
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


def _count_clusters(draws: IntArray) -> FloatArray:
    """Counts how often each of n clusters is in each draw: (block, n) -> (block, n)."""
    size, n = draws.shape
    cells = draws + n * np.arange(size)[:, None]
    return np.bincount(cells.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


def _largest_gap(values: FloatArray, draws: FloatArray, names: Sequence[str], confidence: float) -> SliceGap | None:
    """Finds the largest gap with a simultaneous interval: d ± q s, q the quantile of max |d* - d| / s over all gaps.

    Davison & Hinkley 1997, section 4.2.4; the studentised maximum of Romano & Wolf 2005. `values` is (S,), `draws`
    (R, S), the bootstrap replicates.
    """
    if len(values) < 2:
        return None
    largest = np.zeros(len(draws))
    for first, second in combinations(range(len(values)), 2):
        deviation = draws[:, first] - draws[:, second] - (values[first] - values[second])
        spread = np.nanstd(deviation)
        if spread > 0:
            largest = np.fmax(largest, np.abs(deviation) / spread)
    top, bottom = int(values.argmax()), int(values.argmin())
    value = float(values[top] - values[bottom])
    half = float(np.quantile(largest, confidence) * np.nanstd(draws[:, top] - draws[:, bottom]))
    return SliceGap(names[top], names[bottom], value, value - half, value + half)
