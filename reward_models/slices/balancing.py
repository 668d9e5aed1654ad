"""Against slices with few labels: weights that make them count as much as the others, or rows drawn more often."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from textrl_env.errors import require_at_least
from textrl_env.reward_models.slices.tables import Slices

FloatArray = NDArray[np.float64]
AnyRow = TypeVar("AnyRow")


def balancing_weights(slices: Slices, *, cap: float = 10.0) -> FloatArray:
    """A weight per row, inverse to the size of its slice, 1 on average: (N,).

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
    rows: Sequence[AnyRow], slices: Slices, *, rng: np.random.Generator, cap: float = 10.0
) -> list[AnyRow]:
    """As many rows as there were, those of small slices several times and those of large ones thinned out, shuffled.

    Each slice has the share of rows that `balancing_weights` gives it. Within a slice every row occurs equally often,
    give or take one.
    """
    shares = np.bincount(slices.index, balancing_weights(slices, cap=cap), len(slices.names))
    # Rounded so that they add up: each slice gets the whole part, the largest remainders one more.
    sizes = np.floor(shares + 1e-9).astype(np.int64)
    short = np.argsort(-(shares - sizes), kind="stable")[: len(rows) - int(sizes.sum())]
    sizes[short] += 1
    drawn: list[int] = []
    for number, size in enumerate(sizes.tolist()):
        own = np.flatnonzero(slices.index == number)
        if size:
            passes = [rng.permutation(own) for _ in range(-(-size // len(own)))]
            drawn += np.concatenate(passes)[:size].tolist()
    return [rows[index] for index in rng.permutation(drawn).tolist()]
