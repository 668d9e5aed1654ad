"""Which words go with one of two sides: log-odds ratios with an informative Dirichlet prior, as functions of arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class LogOdds:
    """Per word, (W,): occurrences on the first and on the second side, log-odds ratio and its standard error."""

    first: FloatArray
    second: FloatArray
    delta: FloatArray
    error: FloatArray


def word_log_odds(word: IntArray, side: IntArray, cluster: IntArray, n_words: int) -> LogOdds:
    """Monroe, Colaresi & Quinn 2008, eq. 16, with a variance over clusters.

    delta_w = log((y_w + a_w) / (n + a - y_w - a_w)) - log((z_w + a_w) / (m + a - z_w - a_w))

    y, z are a word's occurrences on the two sides, n, m their sums; the prior a_w is W times the word's share of both
    sides together, so one occurrence a word on average. A side that says more of everything has no words of its own:
    odds are taken among that side's words. The variance is theirs, with one term for each count (eq. 19), if every
    occurrence is a cluster of its own; in larger clusters the terms are added up before they are squared.

    Args:
        word: (E,) numbers below `n_words`, of E occurrences.
        side: (E,) 1 for the first side, -1 for the second.
        cluster: (E,) whole numbers from 0.
        n_words: W.
    """
    y, z = (np.bincount(word[side == each], minlength=n_words).astype(np.float64) for each in (1, -1))
    prior = n_words * (y + z) / max(1, len(word))
    with np.errstate(divide="ignore", invalid="ignore"):
        pulls = [_pulls(count, prior) for count in (y, z)]
        delta = _log_odds(y, prior) - _log_odds(z, prior)
        # Each occurrence of the word moves delta by `own`, each of any word of that side by -`every`: a sum over
        # clusters of (sparse - dense)^2, multiplied out, so that no table of clusters by words is needed.
        keys, cell = np.unique(cluster * n_words + word, return_inverse=True)
        of_cluster, of_word = np.divmod(keys, n_words)
        (own_y, every_y), (own_z, every_z) = pulls
        sparse = np.bincount(cell, side > 0) * own_y[of_word] - np.bincount(cell, side < 0) * own_z[of_word]
        n_y, n_z = (np.bincount(cluster, side == each).astype(np.float64) for each in (1, -1))
        dense = n_y[of_cluster] * every_y[of_word] - n_z[of_cluster] * every_z[of_word]
        variance = np.bincount(of_word, sparse**2 - 2 * sparse * dense, n_words).astype(np.float64)
        variance += (n_y @ n_y) * every_y**2 - 2 * (n_y @ n_z) * every_y * every_z + (n_z @ n_z) * every_z**2
        for own, every in pulls:
            variance += prior * (own - every) ** 2 + (prior.sum() - prior) * every**2
    return LogOdds(y, z, delta, np.sqrt(variance))


def _log_odds(count: FloatArray, prior: FloatArray) -> FloatArray:
    return np.asarray(np.log((count + prior) / (count.sum() + prior.sum() - count - prior)))


def _pulls(count: FloatArray, prior: FloatArray) -> tuple[FloatArray, FloatArray]:
    """How far one occurrence moves the log-odds of its word, and minus how far it moves those of all others."""
    others = 1 / (count.sum() + prior.sum() - count - prior)
    return 1 / (count + prior) + others, others
