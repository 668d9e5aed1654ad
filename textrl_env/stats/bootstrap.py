"""Bootstrap intervals of a statistic, from data drawn again with replacement, whole clusters at a time."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textrl_env.errors import require_count

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BLOCK = 4_000_000
"""Numbers that are drawn at once: 32 MB."""


@dataclass(frozen=True)
class Estimate:
    """A number and its interval; all three are NaN where there was nothing to estimate from."""

    value: float
    low: float
    high: float


def draw_clusters(n: int, *, rng: np.random.Generator, resamples: int) -> Iterator[Ints]:
    """Yields `resamples` draws of n out of n clusters with replacement, in blocks: (block, n), in [0, n).

    The draws are the same whatever the size of a block.
    """
    block = max(1, BLOCK // n)
    for start in range(0, resamples, block):
        yield rng.integers(n, size=(min(block, resamples - start), n))


def percentile_interval(draws: Sequence[float] | Floats, *, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Returns the ends between which the middle `confidence` of R draws lies: (R, ...) -> (...), (...).

    Draws that are NaN are left out; the ends are NaN where all of them are.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy's, of a column of NaN.
        low, high = np.nanquantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return low, high


def bootstrap_interval(
    values: Sequence[float] | Floats, *, rng: np.random.Generator, confidence: float = 0.95, resamples: int = 2000
) -> tuple[float, float]:
    """Returns the percentile interval of a mean (Efron & Tibshirani 1993, chapter 13).

    Args:
        values: (B,), independent; B at least 1.
        rng: of the draws.
        confidence: in (0, 1).
        resamples: number of draws.
    """
    data = np.asarray(values, dtype=np.float64)
    means = [data[rows].mean(axis=1) for rows in draw_clusters(len(data), rng=rng, resamples=resamples)]
    low, high = percentile_interval(np.concatenate(means), confidence=confidence)
    return float(low), float(high)


def bootstrap_estimate(
    statistic: Callable[[Ints], float],
    cluster: Ints,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> Estimate:
    """Computes a statistic and its percentile interval, by drawing whole clusters (Davison & Hinkley 1997, 3.8).

    Units of one cluster, such as the pairs of one prompt, are not independent: drawn one by one, they would make the
    interval too narrow. Zapf et al. 2016 find the bootstrap over units right for kappa and alpha. Draws for which the
    statistic is not defined (NaN) are left out; the interval is NaN where it never is.

    Args:
        statistic: from indices of units, some of them repeated, to a number.
        cluster: (U,) whole numbers from 0, equal where units belong together.
        rng: of the draws.
        confidence: in (0, 1).
        resamples: number of draws.
    """
    require_count(1, resamples=resamples, n_units=len(cluster))
    order = np.argsort(cluster, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(cluster[order])) + 1)
    values = [
        statistic(np.concatenate([members[index] for index in indices]))
        for block in draw_clusters(len(members), rng=rng, resamples=resamples)
        for indices in block
    ]
    low, high = percentile_interval(values, confidence=confidence)
    return Estimate(statistic(np.arange(len(cluster))), float(low), float(high))


def estimate_mean(values: Floats, cluster: Ints, *, rng: np.random.Generator, resamples: int = 500) -> Estimate:
    """Computes the mean of values (U,) and its interval at 95 %, as `bootstrap_estimate`; NaN of no values."""
    if not len(values):
        return Estimate(float("nan"), float("nan"), float("nan"))
    return bootstrap_estimate(lambda units: float(values[units].mean()), cluster, rng=rng, resamples=resamples)
