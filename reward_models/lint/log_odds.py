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
    """Monroe, Colaresi & Quinn 2008, eqs. 16 and 20, with a variance over clusters.

    delta_w = log((y_w + a_w) / (n + a - y_w - a_w)) - log((z_w + a_w) / (m + a - z_w - a_w))

    y, z are a word's occurrences on the two sides, n, m their sums; the prior a_w is W times the word's share of both
    sides together, so one occurrence a word on average. A side that says more of everything has no words of its own:
    odds are taken among that side's words. The paper's variance, 1 / (y_w + a_w) + 1 / (z_w + a_w), is that of
    independent occurrences; here those of a cluster are added up before they are squared, which is the same where
    each cluster has one.

    Args:
        word: (E,) numbers below `n_words`, of E occurrences.
        side: (E,) 1 for the first side, -1 for the second.
        cluster: (E,) whole numbers from 0.
        n_words: W.
    """
    y = np.bincount(word[side > 0], minlength=n_words).astype(np.float64)
    z = np.bincount(word[side < 0], minlength=n_words).astype(np.float64)
    prior = n_words * (y + z) / max(1, len(word))
    total = prior.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        delta = np.log((y + prior) / (y.sum() + total - y - prior)) - np.log(
            (z + prior) / (z.sum() + total - z - prior)
        )
        keys, cell = np.unique(cluster * n_words + word, return_inverse=True)
        of_word = keys % n_words
        pull = np.bincount(cell, side > 0) / (y + prior)[of_word] - np.bincount(cell, side < 0) / (z + prior)[of_word]
        variance = np.bincount(of_word, pull**2, n_words) + prior / (y + prior) ** 2 + prior / (z + prior) ** 2
    return LogOdds(y, z, delta, np.sqrt(variance))
