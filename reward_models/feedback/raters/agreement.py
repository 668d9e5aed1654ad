"""Agreement of raters beyond chance: Cohen's kappa, Fleiss's kappa, Krippendorff's alpha.

All of them are 1 - (observed disagreement) / (disagreement expected by chance): 1 is perfect, 0 is what raters who
answer independently of the text would reach, below 0 they oppose each other. Where chance leaves no disagreement at
all, because only one value was ever used, they are not defined: NaN.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from textrl_env.errors import InputError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Level = Literal["nominal", "ordinal", "interval"]


def count_values(unit: IntArray, value: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Counts how often each unit was given each value.

    Args:
        unit: (N,) whole numbers from 0.
        value: (N,), finite, one judgement each.

    Returns:
        Counts (U, V) and the V values that occur, ascending.
    """
    values, column = np.unique(value, return_inverse=True)
    n_units, n_values = int(unit.max()) + 1, len(values)
    counts = np.bincount(unit * n_values + column, minlength=n_units * n_values)
    return counts.reshape(n_units, n_values).astype(np.float64), values


def squared_difference(values: FloatArray, totals: FloatArray, level: Level) -> FloatArray:
    """Difference of every two values, squared: the metric of Krippendorff 2011, sections D and E.

    nominal: 1 where they differ. interval: (c - k)^2. ordinal: (sum of totals from c to k - (n_c + n_k) / 2)^2, the
    number of judgements that lie between them.

    Args:
        values: (V,) ascending.
        totals: (V,) how often each occurs.
        level: what a difference between two values means.

    Returns:
        (V, V), zero on the diagonal.
    """
    if level == "nominal":
        return 1.0 - np.eye(len(values))
    scale = np.cumsum(totals) - totals / 2 if level == "ordinal" else values
    return np.asarray((scale[:, None] - scale[None, :]) ** 2)


def krippendorff_alpha(counts: FloatArray, values: FloatArray, *, level: Level) -> float:
    """Krippendorff's alpha for any number of raters, with missing values.

    With the coincidences o_ck = sum_u n_uc (n_uk - [c = k]) / (m_u - 1) and n_c = sum_k o_ck, n = sum_c n_c:
    alpha = 1 - (n - 1) sum_ck o_ck d_ck / sum_ck n_c n_k d_ck. Units with fewer than two judgements say nothing.

    Args:
        counts: (U, V) of U units and V values, from `count_values`.
        values: (V,) ascending.
        level: what a difference between two values means.

    Source:
        Krippendorff (2011), Computing Krippendorff's alpha-reliability.
    """
    counts = counts[counts.sum(axis=1) > 1]
    shares = counts / (counts.sum(axis=1, keepdims=True) - 1)
    coincidences = shares.T @ counts - np.diag(shares.sum(axis=0))
    totals = coincidences.sum(axis=0)
    distance = squared_difference(values, totals, level)
    return _beyond_chance((totals.sum() - 1) * (coincidences * distance).sum(), totals @ distance @ totals)


def fleiss_kappa(counts: FloatArray) -> float:
    """Fleiss's kappa of nominal values (Fleiss 1971).

    Args:
        counts: (U, V), of every unit the same number n >= 2 of judgements; InputError otherwise.
    """
    per_unit = counts.sum(axis=1)
    n = float(per_unit[0])
    if n < 2 or (per_unit != n).any():
        raise InputError(
            f"Fleiss's kappa needs the same number of judgements of every unit, 2 or more; got {per_unit.min():.0f} to "
            f"{per_unit.max():.0f}; Krippendorff's alpha takes any numbers"
        )
    agreeing = ((counts * (counts - 1)).sum(axis=1) / (n * (n - 1))).mean()
    shares = counts.sum(axis=0) / counts.sum()
    return _beyond_chance(1 - agreeing, 1 - (shares**2).sum())


def cohen_kappa(confusion: FloatArray, values: FloatArray, *, level: Literal["nominal", "interval"]) -> float:
    """Cohen's kappa of two raters; `interval` is weighted, with quadratic weights (Cohen 1960, 1968).

    Args:
        confusion: (V, V), how often the first rater gave values[i] where the second gave values[j].
        values: (V,).
        level: `nominal` counts any difference as 1, `interval` squares it.
    """
    distance = squared_difference(values, np.ones(len(values)), level)
    n = confusion.sum()
    by_chance = confusion.sum(axis=1) @ distance @ confusion.sum(axis=0)
    return _beyond_chance(n * (confusion * distance).sum(), by_chance)


def _beyond_chance(disagreement: float, by_chance: float) -> float:
    return float(1 - disagreement / by_chance) if by_chance > 0 else float("nan")
