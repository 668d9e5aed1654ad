"""Policies compared by their samples: wins, diversity, and best-of-n as mathematics."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from textrl_env.errors import InputError, require_count

Floats = npt.NDArray[np.float64]


def wins(first: Sequence[float] | Floats, second: Sequence[float] | Floats) -> Floats:
    """Returns 1 where the first scores higher on a prompt, 0 where lower, 0.5 where equal: (B,), (B,) -> (B,)."""
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return np.where(difference == 0, 0.5, difference > 0)


def distinct_n(texts: Sequence[str], n: int) -> float:
    """Returns different n-grams of words over all of them (Li et al. 2016), in [0, 1]; 0 where there are none."""
    grams = [tuple(words[at : at + n]) for words in map(str.split, texts) for at in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def best_of_n_kl(n: int) -> float:
    """Returns log n - (n - 1) / n nats: an upper bound of KL(best-of-n ‖ the policy it samples from).

    Exact where no two completions have the same score and each is unlikely (Stiennon et al. 2020, appendix G.3;
    proved as a bound by Beirami et al. 2024).
    """
    require_count(1, n=n)
    return math.log(n) - (n - 1) / n


def chance_of_best(scores: npt.ArrayLike, n: int) -> Floats:
    """Computes the chance of each of m completions to be the best-scoring of n among them: (..., m) -> (..., m).

    All subsets of size n are as likely, and so are equal scores. With h scores at most s and l scores below s, a
    completion of score s is the best in (C(h, n) - C(l, n)) / ((h - l) C(m, n)) of them (Nakano et al. 2021,
    appendix I, there without equals).
    """
    require_count(1, n=n)
    values = np.asarray(scores, dtype=np.float64)
    m = values.shape[-1]
    if m < n:
        raise InputError(f"the best of {n} cannot be estimated from {m} completions; sample {n} or more")
    within = np.array([math.comb(k, n) / math.comb(m, n) for k in range(m + 1)])
    rows = values.reshape(-1, m)
    pairs = list(zip(np.sort(rows, axis=1), rows, strict=True))
    low = np.array([np.searchsorted(ranks, row, side="left") for ranks, row in pairs]).reshape(values.shape)
    high = np.array([np.searchsorted(ranks, row, side="right") for ranks, row in pairs]).reshape(values.shape)
    chances: Floats = (within[high] - within[low]) / (high - low)
    return chances


def expected_best(scores: npt.ArrayLike, n: int) -> Floats:
    """Estimates the expected best score of n completions without bias, from m >= n of them: (..., m) -> (...)."""
    best: Floats = (chance_of_best(scores, n) * np.asarray(scores, dtype=np.float64)).sum(axis=-1)
    return best
