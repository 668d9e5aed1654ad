"""Effect sizes of paired data with intervals at 95 %, as functions of arrays; pairs of one cluster are not independent.

Variances are of sums over clusters (Liang & Zeger 1986), so they need no assumption about what a cluster's pairs share.
"""

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from textrl_env.reward_models.lint.finding import Effect

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def share(name: str, hits: FloatArray, cluster: IntArray, *, tests: int = 1) -> Effect:
    """The mean of values in [0, 1] with the interval of Wilson 1927, at the effective number of pairs.

    That number is p (1 - p) / Var(p), Var over clusters (Korn & Graubard 1998), and at most the number of pairs; where
    all values are equal it is the number of clusters.

    Args:
        hits: (M,), in [0, 1].
        cluster: (M,) whole numbers from 0.
        tests: as many intervals hold their values all at once (Bonferroni).
    """
    n, p = len(hits), float(hits.mean())
    variance = _variance(hits - p, cluster)
    size = min(n, p * (1 - p) / variance) if variance > 0 else len(np.unique(cluster))
    z = quantile(tests)
    centre, half = (p + z**2 / (2 * size)), z * np.sqrt(p * (1 - p) / size + z**2 / (4 * size**2))
    return Effect(name, p, float((centre - half) / (1 + z**2 / size)), float((centre + half) / (1 + z**2 / size)))


def standardised_mean(name: str, differences: FloatArray, cluster: IntArray) -> Effect | None:
    """Cohen's d of paired data, mean / standard deviation of the differences (Cohen 1988, d_z), by the delta method.

    Independent normal differences have Var(d) = (1 + d^2 / 2) / n. None where all differences are equal.
    Args: differences, cluster: (M,).
    """
    mean, spread = float(differences.mean()), float(differences.std())
    if spread == 0:
        return None
    d, scaled = mean / spread, (differences - mean) / spread
    half = quantile() * _variance(scaled - d / 2 * (scaled**2 - 1), cluster) ** 0.5
    return Effect(name, d, float(d - half), float(d + half))


def quantile(tests: int = 1) -> float:
    """Half the width, in standard errors, of intervals at 95 % that hold for `tests` values at once (Bonferroni)."""
    return NormalDist().inv_cdf(1 - 0.025 / tests)


def _variance(influence: FloatArray, cluster: IntArray) -> float:
    """Var of a mean whose terms move it by influence / M: (M,), (M,)."""
    return float((np.bincount(cluster, influence) ** 2).sum() / len(influence) ** 2)
