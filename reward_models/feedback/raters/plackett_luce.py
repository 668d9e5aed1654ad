"""Plackett-Luce: the worth of items from rankings, with ties of pairs and confidence intervals.

A ranking is a row of choices: the best of all, then the best of the rest, each item chosen with a probability in
proportion to its worth exp(s) (Luce 1959, Plackett 1975). For pairs this is Bradley-Terry. Where raters may call a pair
a tie, Davidson (1970) gives the tie the worth nu * sqrt(worth_i * worth_j). All of these are multinomial logits:

    P(alternative a) = exp(x_a . theta) / sum_b exp(x_b . theta),   theta = (s_1 ... s_n, log nu),

with x = e_i for item i and x = (e_i + e_j) / 2 + e_nu for a tie. So the log-likelihood is concave, and Newton's method
finds its maximum and, with its curvature there, the intervals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from textrl_env.errors import InputError, require_at_least, require_count

FloatArray = NDArray[np.float64]
_MAX_STEPS = 100
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class PlackettLuce:
    """Worths estimated from rankings.

    Attributes:
        log_worth: (n,), with mean 0.
        covariance: (n, n) of log_worth, from the observed information.
        log_tie: Davidson's log nu, or None where there was no tie.
    """

    log_worth: FloatArray
    covariance: FloatArray
    log_tie: float | None

    def interval(self, *, z: float = 1.96) -> tuple[FloatArray, FloatArray]:
        """Returns low and high ends of log_worth, (n,) each; at 95 % by default."""
        spread = z * np.sqrt(np.diag(self.covariance))
        return self.log_worth - spread, self.log_worth + spread


def fit_plackett_luce(
    n_items: int,
    rankings: Sequence[Sequence[int]],
    *,
    ties: Sequence[tuple[int, int]] = (),
    ridge: float = 0.0,
) -> PlackettLuce:
    """Estimates the most probable worths.

    Args:
        n_items: n >= 2; items are the whole numbers below it.
        rankings: of two items or more each, best first; an item at most once in each.
        ties: pairs that were called equal. Where there is one, pairs in `rankings` are taken as answers to a question
            that allowed a tie; longer rankings are not.
        ridge: precision of a normal prior around 0 on every log-worth, >= 0. With 0 it is maximum likelihood.

    Raises:
        InputError: an item that does not exist, or no finite maximum: with `ridge=0` some items never lose to the
            others or are never compared with them (Ford 1957).
    """
    require_count(2, n_items=n_items)
    require_at_least(0, ridge=ridge)
    for ranking in (*rankings, *ties):
        if len(ranking) < 2 or len(set(ranking)) < len(ranking) or not 0 <= min(ranking) <= max(ranking) < n_items:
            raise InputError(f"a ranking must hold two or more different items below {n_items}, got {list(ranking)}")
    if not len(rankings) + len(ties):
        raise InputError("no rankings to learn from")
    if ridge == 0 and not _are_connected(n_items, rankings, ties):
        raise InputError("some items never lose to the others, so their worth has no bound; give ridge, such as 0.1")
    design, exists = _choices(n_items, rankings, ties)
    prior = np.append(np.full(n_items, ridge), np.zeros(design.shape[2] - n_items))
    # Only differences of log-worths count: their mean, which is 0 from the start to the end, gets a curvature of 1.
    mean = np.append(np.full(n_items, 1 / np.sqrt(n_items)), np.zeros(len(prior) - n_items))
    theta = np.zeros(len(prior))
    value, gradient, curvature = _log_posterior(theta, design, exists, prior)
    for _ in range(_MAX_STEPS):
        step = np.linalg.solve(curvature + np.outer(mean, mean), gradient)
        # Newton's decrement: twice what this step can still gain. So near the top, the whole step is right.
        if gradient @ step < _TOLERANCE:
            theta = theta + step
            inverse = np.linalg.inv(curvature + np.outer(mean, mean))[:n_items, :n_items]
            centre = np.eye(n_items) - 1 / n_items
            log_tie = float(theta[n_items]) if len(ties) else None
            return PlackettLuce(theta[:n_items], centre @ inverse @ centre, log_tie)
        size = 1.0
        while (candidate := _log_posterior(theta + size * step, design, exists, prior))[0] < value:
            size /= 2
        theta = theta + size * step
        value, gradient, curvature = candidate
    raise InputError(f"Plackett-Luce did not settle in {_MAX_STEPS} steps; give ridge, such as 0.1")


def _choices(
    n_items: int, rankings: Sequence[Sequence[int]], ties: Sequence[tuple[int, int]]
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Features (M, A, n or n + 1) of the alternatives of M choices, the best first, and whether each exists, (M, A)."""
    unit = np.eye(n_items + bool(ties))

    def tie(i: int, j: int) -> FloatArray:
        return np.asarray((unit[i] + unit[j]) / 2 + unit[n_items])

    choices: list[list[FloatArray]] = [[tie(i, j), unit[i], unit[j]] for i, j in ties]
    for ranking in rankings:
        choices += [[unit[item] for item in ranking[at:]] for at in range(len(ranking) - 1)]
        if len(ranking) == 2 and ties:
            choices[-1].append(tie(*ranking))
    widest = max(map(len, choices))
    design, exists = np.zeros((len(choices), widest, len(unit))), np.zeros((len(choices), widest), dtype=np.bool_)
    for row, alternatives in enumerate(choices):
        design[row, : len(alternatives)], exists[row, : len(alternatives)] = alternatives, True
    return design, exists


def _log_posterior(
    theta: FloatArray, design: FloatArray, exists: NDArray[np.bool_], prior: FloatArray
) -> tuple[float, FloatArray, FloatArray]:
    """Value, gradient (D,) and negative Hessian (D, D)."""
    logits = np.where(exists, design @ theta, -np.inf)
    top = logits.max(axis=1, keepdims=True)
    weights = np.exp(logits - top)
    p = weights / weights.sum(axis=1, keepdims=True)
    mean = np.einsum("ma,mad->md", p, design)
    value = (logits[:, 0] - top[:, 0] - np.log(weights.sum(axis=1))).sum() - (prior * theta**2).sum() / 2
    gradient = (design[:, 0] - mean).sum(axis=0) - prior * theta
    flat, width = design.reshape(-1, len(theta)), len(theta)
    curvature = (flat * p.reshape(-1, 1)).T @ flat - mean.T @ mean + np.diag(prior)
    return float(value), gradient, curvature.reshape(width, width)


def _are_connected(n_items: int, rankings: Sequence[Sequence[int]], ties: Sequence[tuple[int, int]]) -> bool:
    """Says whether every item can be reached from every other along "was not worse than" (Ford 1957)."""
    beats = np.eye(n_items, dtype=np.bool_)
    for ranking in rankings:
        for better, worse in pairwise(ranking):
            beats[better, worse] = True
    for i, j in ties:
        beats[i, j] = beats[j, i] = True
    # Squaring doubles the length of the paths that are known.
    for _ in range(n_items.bit_length()):
        beats = beats @ beats
    return bool(beats.all())
