"""Near-duplicates among many texts: MinHash sketches and banding (Broder 1997; Indyk & Motwani 1998).

Two texts are as similar as their sets of word triples overlap, |A and B| / |A or B| (Jaccard). Equal sketch values
are as likely as that; texts are compared where all values of a band are equal, and then exactly. At a similarity of
0.8 a pair of texts shares a band with probability 0.996, at 0.5 with 0.36, at 0.2 with 0.004.
"""

import numpy as np
from numpy.typing import NDArray

from textrl_env.reward_models.lint.texts import IntArray, Ragged

N_BANDS, BAND = 14, 5
SHINGLE = 3
_BLOCK = 1 << 18


def compute_sketches(texts: Ragged) -> NDArray[np.uint64]:
    """Computes the band values of T texts of word numbers, (T, N_BANDS); equal ones make a pair worth comparing.

    A text's ends count as two words more, so that one of a single word has triples too.
    """
    # Fixed: the same data gives the same findings.
    rng = np.random.default_rng(20)
    weights = rng.integers(1, 2**63, size=SHINGLE, dtype=np.uint64) | np.uint64(1)
    multipliers = rng.integers(1, 2**63, size=N_BANDS * BAND, dtype=np.uint64) | np.uint64(1)
    mixers = rng.integers(1, 2**63, size=BAND, dtype=np.uint64) | np.uint64(1)
    bands = np.empty((len(texts), N_BANDS), dtype=np.uint64)
    first = 0
    while first < len(texts):
        last = max(first + 1, int(np.searchsorted(texts.starts, texts.starts[first] + _BLOCK)) - 1)
        hashes, starts = _hash_triples(texts, first, last, weights)
        lowest = np.stack([np.minimum.reduceat(hashes * m >> np.uint64(32), starts) for m in multipliers], axis=1)
        bands[first:last] = (lowest.reshape(last - first, N_BANDS, BAND) * mixers).sum(axis=2)
        first = last
    return bands


def _hash_triples(
    texts: Ragged, first: int, last: int, weights: NDArray[np.uint64]
) -> tuple[NDArray[np.uint64], IntArray]:
    """Returns hashes of the word triples of texts first to last, and where each text's begin."""
    pad = SHINGLE - 1
    starts = texts.starts[first : last + 1] - texts.starts[first]
    numbers = np.arange(last - first + 1)
    words = np.zeros(int(starts[-1]) + pad * (last - first + 1), dtype=np.uint64)
    places = np.arange(int(starts[-1])) + pad * (1 + np.repeat(numbers[:-1], np.diff(starts)))
    words[places] = texts.values[texts.starts[first] : texts.starts[last]].astype(np.uint64) + np.uint64(1)
    n = len(words) - pad
    hashes = sum((words[i : i + n] * weights[i] for i in range(SHINGLE)), start=np.zeros(n, dtype=np.uint64))
    hashes ^= hashes >> np.uint64(29)
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> np.uint64(32)
    return hashes, (starts + pad * numbers)[:-1]


def find_candidates(bands: NDArray[np.uint64]) -> IntArray:
    """Finds pairs (N, 2) worth comparing, the smaller number first.

    Of the texts that share a band, each is paired with the first and with the one before it: pairs grow with the texts
    and not with their square, however alike they are.
    """
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for band in bands.T:
        order = np.argsort(band, kind="stable")
        repeats = np.flatnonzero(band[order][1:] == band[order][:-1]) + 1
        starts = np.arange(len(order))
        starts[repeats] = 0
        leader = np.maximum.accumulate(starts)
        pairs += [np.stack([order[partner], order[repeats]], axis=1) for partner in (repeats - 1, leader[repeats])]
    return np.unique(np.concatenate(pairs), axis=0)


def find_candidates_across(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> IntArray:
    """Finds pairs (N, 2) of a text of `first` and one of `second`: the first and the last that share a band."""
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for first_band, second_band in zip(first.T, second.T, strict=True):
        order = np.argsort(first_band, kind="stable")
        begin = np.searchsorted(first_band[order], second_band, side="left")
        end = np.searchsorted(first_band[order], second_band, side="right")
        matches = np.flatnonzero(end > begin)
        pairs += [np.stack([order[place[matches]], matches], axis=1) for place in (begin, end - 1)]
    return np.unique(np.concatenate(pairs), axis=0)


def compute_similarity(first: NDArray[np.int32], second: NDArray[np.int32]) -> float:
    """Computes the Jaccard similarity of the word triples of two texts, exactly."""
    a, b = _list_triples(first), _list_triples(second)
    return len(a & b) / len(a | b)


def _list_triples(text: NDArray[np.int32]) -> set[tuple[int, ...]]:
    words = [-1] * (SHINGLE - 1) + text.tolist() + [-1] * (SHINGLE - 1)
    return set(zip(*(words[i:] for i in range(SHINGLE)), strict=False))
