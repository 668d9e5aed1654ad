"""Bootstrap intervals of a statistic of units that come in clusters."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from textrl_env.errors import require_at_least

IntArray = NDArray[np.int64]


def cluster_bootstrap(
    statistic: Callable[[IntArray], float],
    cluster: IntArray,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> tuple[float, float]:
    """The percentile interval of a statistic, by drawing whole clusters with replacement (Davison & Hinkley 1997, 3.8).

    Units of one cluster, such as the pairs of one prompt, are not independent: drawn one by one, they would make the
    interval too narrow. Zapf et al. 2016 find the bootstrap over units right for kappa and alpha. Draws for which the
    statistic is not defined (NaN) are left out; the interval is NaN where it never is.

    Args:
        statistic: from indices of units, some of them repeated, to a number.
        cluster: (U,) whole numbers from 0, equal where units belong together.
        rng: the caller's generator.
        confidence: in (0, 1).
        resamples: how many draws.
    """
    require_at_least(1, resamples=resamples, n_units=len(cluster))
    order = np.argsort(cluster, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(cluster[order])) + 1)
    drawn = (rng.integers(len(members), size=len(members)) for _ in range(resamples))
    values = np.array([statistic(np.concatenate([members[index] for index in draw])) for draw in drawn])
    if np.isnan(values).all():
        return float("nan"), float("nan")
    low, high = np.nanquantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
