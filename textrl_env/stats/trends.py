"""Does a series rise or fall, or is it noise? The Mann-Kendall test."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def mann_kendall(values: Sequence[float] | npt.NDArray[np.float64]) -> float:
    """The trend's z-score: about N(0, 1) for noise without a trend, large where the series rises, negative if it falls.

    S counts the pairs in which the later value is higher, minus those in which it is lower. With t_g values in the
    g-th group of equal ones,

        z = (S - sign S) / sqrt((n(n - 1)(2n + 5) - sum_g t_g(t_g - 1)(2 t_g + 5)) / 18).

    Only the order of the values counts, so neither their scale nor a single wild one matters. Fewer than three values,
    or equal ones, have no trend: 0.

    Args:
        values: (n,), in order of time.
    Source:
        Mann (1945); Kendall (1975), Rank correlation methods, for ties and the correction for continuity.
    """
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    s = float(np.sign(x[None, :] - x[:, None])[np.triu_indices(n, k=1)].sum())
    ties = np.unique(x, return_counts=True)[1]
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    if n < 3 or variance <= 0:
        return 0.0
    return (s - math.copysign(1, s) if s else 0.0) / math.sqrt(variance)
