"""Effect sizes of paired data with intervals at 95 %, named; pairs of one cluster are not independent."""

from dataclasses import astuple

import numpy as np
from numpy.typing import NDArray

from textrl_env.reward_models.lint.finding import Effect
from textrl_env.stats import estimate_share, estimate_standardised_mean

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def share(name: str, hits: FloatArray, cluster: IntArray, *, tests: int = 1) -> Effect:
    """Computes a share of pairs, see `textrl_env.stats.estimate_share`."""
    return Effect(name, *astuple(estimate_share(hits, cluster, tests=tests)))


def standardised_mean(name: str, differences: FloatArray, cluster: IntArray) -> Effect | None:
    """Computes Cohen's d, see `textrl_env.stats.estimate_standardised_mean`; None where all differences are equal."""
    estimate = estimate_standardised_mean(differences, cluster)
    return None if estimate is None else Effect(name, *astuple(estimate))
