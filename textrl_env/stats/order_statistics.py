"""Best-of-n as mathematics: which of m sampled completions the best of n is, and what choosing it costs in KL."""

import math

import numpy as np
import numpy.typing as npt

from textrl_env.errors import InputError, require_at_least

Floats = npt.NDArray[np.float64]


def best_of_n_kl(n: int) -> float:
    """Log n - (n - 1) / n nats: an upper bound of KL(best-of-n ‖ the policy it samples from).

    Exact where no two completions have the same score and each is unlikely (Stiennon et al. 2020, appendix G.3;
    proved as a bound by Beirami et al. 2024).
    """
    require_at_least(1, n=n)
    return math.log(n) - (n - 1) / n


def chance_of_best(scores: npt.ArrayLike, n: int) -> Floats:
    """How likely each of m completions is the best-scoring of n that are drawn from the m: (..., m) -> (..., m).

    Over all subsets of size n; among equal scores each is as likely. With h scores at most s and l scores below s, a
    completion of score s is the best in (C(h, n) - C(l, n)) / ((h - l) C(m, n)) of them (Nakano et al. 2021,
    appendix I, there without equals).
    """
    require_at_least(1, n=n)
    values = np.asarray(scores, dtype=np.float64)
    m = values.shape[-1]
    if m < n:
        raise InputError(f"the best of {n} cannot be estimated from {m} completions; sample {n} or more")
    within = np.array([math.comb(k, n) / math.comb(m, n) for k in range(m + 1)])
    rows = values.reshape(-1, m)
    ordered = np.sort(rows, axis=1)
    pairs = list(zip(ordered, rows, strict=True))
    low = np.array([np.searchsorted(row, own, side="left") for row, own in pairs]).reshape(values.shape)
    high = np.array([np.searchsorted(row, own, side="right") for row, own in pairs]).reshape(values.shape)
    chances: Floats = (within[high] - within[low]) / (high - low)
    return chances


def expected_best(scores: npt.ArrayLike, n: int) -> Floats:
    """Unbiased estimate of the expected best score of n completions, from m >= n of them: (..., m) -> (...)."""
    best: Floats = (chance_of_best(scores, n) * np.asarray(scores, dtype=np.float64)).sum(axis=-1)
    return best
