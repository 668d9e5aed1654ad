"""Intervals from the normal distribution and its kin, and the Mann-Kendall test of a trend.

Variances are of sums over clusters (Liang & Zeger 1986), so they need no assumption about what a cluster's units share.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from textrl_env.stats.bootstrap import Estimate, Floats, Ints


def normal_quantile(*, tests: int = 1) -> float:
    """Returns half the width, in standard errors, of intervals at 95 % that hold `tests` values (Bonferroni)."""
    return NormalDist().inv_cdf(1 - 0.025 / tests)


def student_interval(values: Sequence[float] | Floats, *, confidence: float = 0.95) -> tuple[float, float]:
    """Returns Student's interval of a mean of independent values, such as one per seed: (B,), B at least 2.

    The quantile of the t distribution is that of 10^6 draws with a fixed seed, right to about 1 % at 4 degrees of
    freedom.
    """
    data = np.asarray(values, dtype=np.float64)
    draws = np.random.default_rng(0).standard_t(len(data) - 1, 1_000_000)
    half = float(np.quantile(draws, (1 + confidence) / 2) * data.std(ddof=1) / len(data) ** 0.5)
    return float(data.mean()) - half, float(data.mean()) + half


def estimate_share(hits: Floats, cluster: Ints, *, tests: int = 1) -> Estimate:
    """Computes the mean of values in [0, 1] and its interval at 95 % (Wilson 1927), for the effective number of units.

    That number is p (1 - p) / Var(p), Var over clusters (Korn & Graubard 1998), and at most the number of units; where
    all values are equal it is the number of clusters.

    Args:
        hits: (U,), in [0, 1].
        cluster: (U,) whole numbers from 0, equal where units belong together.
        tests: number of intervals that hold their values all at once (Bonferroni).
    """
    n, p = len(hits), float(hits.mean())
    variance = _mean_variance(hits - p, cluster)
    size = min(n, p * (1 - p) / variance) if variance > 0 else len(np.unique(cluster))
    z = normal_quantile(tests=tests)
    centre, half = (p + z**2 / (2 * size)), z * np.sqrt(p * (1 - p) / size + z**2 / (4 * size**2))
    return Estimate(p, float((centre - half) / (1 + z**2 / size)), float((centre + half) / (1 + z**2 / size)))


def estimate_standardised_mean(differences: Floats, cluster: Ints) -> Estimate | None:
    """Computes Cohen's d of paired data with its interval at 95 %, by the delta method; None of equal differences.

    d = mean / standard deviation of the differences (Cohen 1988, d_z). Independent normal differences have
    Var(d) = (1 + d^2 / 2) / n.

    Args:
        differences: (U,).
        cluster: (U,) whole numbers from 0, equal where units belong together.
    """
    mean, spread = float(differences.mean()), float(differences.std())
    if spread == 0:
        return None
    d, z = mean / spread, (differences - mean) / spread
    half = normal_quantile() * _mean_variance(z - d / 2 * (z**2 - 1), cluster) ** 0.5
    return Estimate(d, float(d - half), float(d + half))


def mann_kendall(values: Sequence[float] | Floats) -> float:
    """Computes the z-score of a trend: about N(0, 1) for noise, large where a series rises, negative where it falls.

    S counts the pairs in which the later value is higher, minus those in which it is lower. With t_g values in the
    g-th group of equal ones,

        z = (S - sign S) / sqrt((n(n - 1)(2n + 5) - sum_g t_g(t_g - 1)(2 t_g + 5)) / 18).

    Only the order of the values counts, so neither their scale nor a single wild one matters. Fewer than three values,
    or equal ones, have no trend: 0. Source: Mann (1945); Kendall (1975), Rank correlation methods, for ties and the
    correction for continuity.

    Args:
        values: (n,), in order of time.
    """
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    s = math.nan if np.isnan(x).any() else float(_count_rises(x))
    ties = np.unique(x, return_counts=True)[1]
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    if n < 3 or variance <= 0:
        return 0.0
    return (s - math.copysign(1, s) if s else 0.0) / math.sqrt(variance)


def _count_rises(x: Floats) -> int:
    """Counts the pairs whose later value is higher, less those whose later value is lower.

    Half by half, as a merge sort does: a log of ten thousand rows would otherwise take a matrix of a gigabyte.
    """
    if len(x) < 2:
        return 0
    early, late = np.sort(x[: len(x) // 2]), x[len(x) // 2 :]
    lower = np.searchsorted(early, late, side="left").sum()
    higher = (len(early) - np.searchsorted(early, late, side="right")).sum()
    return int(lower - higher) + _count_rises(x[: len(x) // 2]) + _count_rises(late)


def _mean_variance(influence: Floats, cluster: Ints) -> float:
    """Returns the variance of a mean whose terms move it by influence / U: (U,), (U,)."""
    return float((np.bincount(cluster, influence) ** 2).sum() / len(influence) ** 2)
