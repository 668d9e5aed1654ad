"""Words that go with the preferred or the other text: log-odds ratios with an informative Dirichlet prior."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textrl_env.reward_models.lint.corpus import LabelPairs
from textrl_env.reward_models.lint.texts import IntArray, Ragged, Words

FloatArray = NDArray[np.float64]
_BLOCK = 20_000


@dataclass(frozen=True)
class WordOdds:
    """Per word, (W,): occurrences on the first and on the second side, log-odds ratio and its standard error."""

    first: FloatArray
    second: FloatArray
    delta: FloatArray
    error: FloatArray


def compute_word_odds(word: IntArray, side: IntArray, cluster: IntArray, n_words: int) -> WordOdds:
    """Computes log-odds ratios (Monroe, Colaresi & Quinn 2008, eq. 16), with a variance over clusters.

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
    y, z = (np.bincount(word[side == sign], minlength=n_words).astype(np.float64) for sign in (1, -1))
    prior = n_words * (y + z) / max(1, len(word))
    with np.errstate(divide="ignore", invalid="ignore"):
        pulls = [_compute_pulls(count, prior) for count in (y, z)]
        delta = _log_odds(y, prior) - _log_odds(z, prior)
        # Each occurrence of the word moves delta by `on_word`, each of any word of that side by -`on_all`: a sum over
        # clusters of (sparse - dense)^2, multiplied out, so that no table of clusters by words is needed.
        keys, cell = np.unique(cluster * n_words + word, return_inverse=True)
        of_cluster, of_word = np.divmod(keys, n_words)
        (on_word_y, on_all_y), (on_word_z, on_all_z) = pulls
        sparse = np.bincount(cell, side > 0) * on_word_y[of_word] - np.bincount(cell, side < 0) * on_word_z[of_word]
        n_y, n_z = (np.bincount(cluster, side == sign).astype(np.float64) for sign in (1, -1))
        dense = n_y[of_cluster] * on_all_y[of_word] - n_z[of_cluster] * on_all_z[of_word]
        variance = np.bincount(of_word, sparse**2 - 2 * sparse * dense, n_words).astype(np.float64)
        variance += (n_y @ n_y) * on_all_y**2 - 2 * (n_y @ n_z) * on_all_y * on_all_z + (n_z @ n_z) * on_all_z**2
        for on_word, on_all in pulls:
            variance += prior * (on_word - on_all) ** 2 + (prior.sum() - prior) * on_all**2
    return WordOdds(y, z, delta, np.sqrt(variance))


def _log_odds(count: FloatArray, prior: FloatArray) -> FloatArray:
    return np.asarray(np.log((count + prior) / (count.sum() + prior.sum() - count - prior)))


def _compute_pulls(count: FloatArray, prior: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Returns how far one occurrence moves the log-odds of its word, and minus how far those of all other words."""
    rest = 1 / (count.sum() + prior.sum() - count - prior)
    return 1 / (count + prior) + rest, rest


def list_one_sided_words(words: Words, pairs: LabelPairs) -> tuple[IntArray, IntArray, IntArray]:
    """Lists words that one completion of a pair has and the other has not; a word counts once a text.

    Returns:
        pair, word, side: (E,) each; the side is 1 if the better completion has the word, else -1.
    """
    n_words = len(words.vocabulary)
    blocks: list[IntArray] = [np.zeros((3, 0), dtype=np.int64)]
    for start in range(0, len(pairs), _BLOCK):
        block = slice(start, start + _BLOCK)
        keys = [np.unique(_number_words(words.ids, texts[block], n_words)) for texts in (pairs.better, pairs.worse)]
        union, n_sides = np.unique(np.concatenate(keys), return_counts=True)
        alone = union[n_sides == 1]
        better = np.isin(alone, keys[0], assume_unique=True)
        blocks.append(np.stack([alone // n_words + start, alone % n_words, np.where(better, 1, -1)]))
    pair, word, side = np.concatenate(blocks, axis=1)
    return pair, word, side


def _number_words(ids: Ragged, texts: IntArray, n_words: int) -> IntArray:
    """Returns i * n_words + word, of every word of the i-th of N texts."""
    lengths = ids.lengths[texts]
    ends = np.cumsum(lengths)
    at = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(ids.starts[texts] - ends + lengths, lengths)
    return np.repeat(np.arange(len(texts)), lengths) * n_words + ids.values[at].astype(np.int64)
