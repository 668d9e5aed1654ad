"""Exact answers for small vocabularies and horizons: the KL-regularised optimum, the value of any policy, the frontier.

On the tree of one prompt's completions the objective J(π) = E[score] - coef · KL(π ‖ π_ref) has the optimum
π* ∝ π_ref · exp(score / coef) over completions, found by soft dynamic programming from the leaves up (Levine 2018,
section 2; Rafailov et al. 2023, eq. 4). `docs/oracle.md` shows its use.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textrl_env.errors import InputError, require_above, require_at_least
from textrl_env.oracle.tree import Bools, Floats, PrefixTree, row_blocks

LogPolicy = Sequence[Floats]
"""Per depth t the log-probabilities of the next token, (n_t, V), for the tree's unfinished prefixes of length t."""


@dataclass(frozen=True)
class PolicyValue:
    """The exact value of a policy: `objective` = `score` - coef · `kl` (nats per completion).

    `kl` is infinite, and the objective with it, where the policy takes a token that the reference never does.
    """

    objective: float
    score: float
    kl: float


@dataclass(frozen=True)
class Solution:
    """The optimum: its objective V*, and per depth t the optimal log-policy, (n_t, V), and soft values, (n_t,)."""

    objective: float
    log_policy: tuple[Floats, ...]
    values: tuple[Floats, ...]


@dataclass(frozen=True)
class Frontier:
    """The KL-optimal policies at K coefficients: `coefs`, `kl` (nats per completion) and `score`, each (K,)."""

    coefs: Floats
    kl: Floats
    score: Floats


def solve(tree: PrefixTree, log_reference: LogPolicy, *, coef: float) -> Solution:
    """Computes the policy that maximises E[score] - coef · KL(π ‖ π_ref), by soft dynamic programming; coef > 0.

    Q(s, a) = score where a ends, else V(s a);   V(s) = coef · log Σ_a π_ref(a|s) exp(Q(s, a) / coef);
    π*(a|s) = π_ref(a|s) exp((Q(s, a) - V(s)) / coef).

    Raises:
        InputError: `coef`, or a reference that is not a log-policy on the tree.
    """
    require_above(0, coef=coef)
    values: list[Floats] = []
    policy: list[Floats] = []
    following = np.zeros(0)
    for end, score, log_ref in _from_the_leaves(tree, log_reference=log_reference):
        value, log_policy = np.empty(len(end)), np.empty(end.shape)
        for rows, children in _families(end):
            exponents = log_ref[rows] + _graft(end[rows], score[rows], following[children]) / coef
            peak = exponents.max(axis=1, keepdims=True)
            log_sum = peak + np.log(np.exp(exponents - peak).sum(axis=1, keepdims=True))
            value[rows] = coef * log_sum[:, 0]
            np.subtract(exponents, log_sum, out=log_policy[rows])
        following = value
        policy.append(log_policy)
        values.append(value)
    return Solution(float(following[0]), tuple(reversed(policy)), tuple(reversed(values)))


def evaluate(tree: PrefixTree, log_policy: LogPolicy, log_reference: LogPolicy, *, coef: float) -> PolicyValue:
    """Computes the exact expected score and KL of a policy on the tree; coef at least 0.

    S(s) = Σ_a π(a|s) (score where a ends, else S(s a));   K(s) = Σ_a π(a|s) (log π(a|s) / π_ref(a|s) + K(s a)).

    Raises:
        InputError: `coef`, or a policy or reference that is not a log-policy on the tree.
    """
    require_at_least(0, coef=coef)
    score_after, kl_after = np.zeros(0), np.zeros(0)
    for end, score, log_pi, log_ref in _from_the_leaves(tree, log_policy=log_policy, log_reference=log_reference):
        scores, kls = np.empty(len(end)), np.empty(len(end))
        for rows, children in _families(end):
            probability = np.exp(log_pi[rows])
            support = probability > 0
            # A token that is never taken counts nothing, were its KL infinite.
            kl = np.subtract(log_pi[rows], log_ref[rows], out=np.zeros(support.shape), where=support)
            kl += _graft(end[rows], 0.0, kl_after[children])
            kls[rows] = np.multiply(probability, kl, out=np.zeros(support.shape), where=support).sum(axis=1)
            scores[rows] = (probability * _graft(end[rows], score[rows], score_after[children])).sum(axis=1)
        score_after, kl_after = scores, kls
    score_of_all, kl_of_all = float(score_after[0]), float(kl_after[0])
    return PolicyValue(score_of_all - (coef * kl_of_all if coef else 0.0), score_of_all, kl_of_all)


def regret(tree: PrefixTree, log_policy: LogPolicy, log_reference: LogPolicy, *, coef: float) -> float:
    """Computes how far a policy falls short of the best objective, V* - J(π) = coef · KL(π ‖ π*); coef > 0."""
    best = solve(tree, log_reference, coef=coef).objective
    return best - evaluate(tree, log_policy, log_reference, coef=coef).objective


def uniform_policy(tree: PrefixTree) -> list[Floats]:
    """Returns the policy that takes every token, the end token among them, with probability 1 / V."""
    return [np.full(end.shape, -np.log(end.shape[1])) for end in tree.ends]


def frontier(
    tree: PrefixTree, log_reference: LogPolicy, coefs: Sequence[float] | Floats, *, judge: PrefixTree | None = None
) -> Frontier:
    """Computes KL and score of the optimum at each coefficient.

    No policy with as little KL scores more on the tree. The score is an increasing concave function of the KL, and its
    slope where the optimum of a coefficient stands is that coefficient.

    Args:
        tree: completions with the score that the policies maximise.
        log_reference: the policy that KL is measured from.
        coefs: (K,), each above 0; smaller ones reach farther.
        judge: a tree of the same completions whose score is reported instead: gold, where `tree` pays a proxy. It may
            fall as the coefficients do (Gao et al. 2023).
    """
    optima = []
    for coef in coefs:
        policy = solve(tree, log_reference, coef=float(coef)).log_policy
        optima.append(evaluate(judge or tree, policy, log_reference, coef=float(coef)))
    return Frontier(
        np.asarray(coefs, dtype=np.float64),
        np.array([optimum.kl for optimum in optima]),
        np.array([optimum.score for optimum in optima]),
    )


def best_score_within(tree: PrefixTree, log_reference: LogPolicy, *, kl: float) -> float:
    """Computes the best score that a policy reaches with at most `kl` nats per completion; 0 or more, infinity too.

    By Lagrangian duality it is the least of V*(coef) + coef · kl over the coefficients, where the optimum's KL is `kl`:
    found by bisection, for about 35 times the work of `solve` and `evaluate`. Enough KL for the reference's share of
    the best completions alone buys the best score, and none the reference's own.

    Raises:
        InputError: `kl`, or a reference that is not a log-policy on the tree.
    """
    if kl != math.inf:
        require_at_least(0, kl=kl)
    at_reference = evaluate(tree, log_reference, log_reference, coef=0.0).score
    scores, logprobs = _leaves(tree, log_reference)
    best = float(scores.max())
    # KL(ref given that the completion is one of the best ‖ ref) = -log P_ref(best).
    if kl >= -np.logaddexp.reduce(logprobs[scores == best]):
        return best
    # By Pinsker's inequality the gain is at most span · √(kl / 2): what is less than rounding cannot be found.
    if kl < 1e-30:
        return at_reference
    span = float(np.ptp(scores)) or 1.0
    # An optimum's KL falls as its coefficient rises, and is at most (span / coef)^2 / 8 (Hoeffding's lemma).
    low, high = 1e-9 * span, span / math.sqrt(8 * kl)
    while high > (1 + 1e-8) * low:
        coef = math.sqrt(low * high)
        optimal_kl = evaluate(tree, solve(tree, log_reference, coef=coef).log_policy, log_reference, coef=coef).kl
        low, high = (coef, high) if optimal_kl > kl else (low, coef)
    dual = solve(tree, log_reference, coef=high).objective + high * kl
    # A vast coefficient multiplies rounding, too.
    return min(max(dual, at_reference), best, at_reference + span * math.sqrt(kl / 2))


def _leaves(tree: PrefixTree, log_reference: LogPolicy) -> tuple[Floats, Floats]:
    """Returns scores and log-probabilities under the reference of all completions that it can write."""
    prefix, scores, logprobs = np.zeros(1), [], []
    for end, score, level in zip(tree.ends, tree.scores, _as_levels(tree, "log_reference", log_reference), strict=True):
        after = prefix[:, None] + level
        possible = end & (after > -np.inf)
        scores.append(score[possible])
        logprobs.append(after[possible])
        prefix = after[~end]
    return np.concatenate(scores), np.concatenate(logprobs)


def _from_the_leaves(tree: PrefixTree, **policies: LogPolicy) -> list[tuple[npt.NDArray[Any], ...]]:
    """Lists (ends, scores, log-probabilities of each policy) by depth, the deepest first, and checks the policies."""
    levels = [_as_levels(tree, name, policy) for name, policy in policies.items()]
    return list(zip(tree.ends, tree.scores, *levels, strict=True))[::-1]


def _as_levels(tree: PrefixTree, name: str, policy: LogPolicy) -> list[Floats]:
    levels = [np.asarray(level, dtype=np.float64) for level in policy]
    tree_shapes, shapes = [end.shape for end in tree.ends], [level.shape for level in levels]
    if shapes != tree_shapes:
        raise InputError(
            f"{name} must have a level of log-probabilities a depth, of shapes {tree_shapes}, got {shapes}"
        )
    for depth, level in enumerate(levels):
        _require_distributions(f"{name}[{depth}]", level)
    return levels


def _require_distributions(name: str, log_probabilities: Floats) -> None:
    for rows in row_blocks(*log_probabilities.shape):
        totals = np.exp(log_probabilities[rows]).sum(axis=1)
        # Single-precision log-softmaxes are off by less; logits that were never normalised by more.
        wrong = ~(np.abs(totals - 1) < 1e-4)
        if wrong.any():
            row = int(wrong.argmax())
            raise InputError(
                f"{name} must be log-probabilities, but the probabilities of row {rows.start + row} sum to "
                f"{totals[row]:.6g}; pass them through log_softmax"
            )


def _families(end: Bools) -> Iterator[tuple[slice, slice]]:
    """Yields a level's rows a block at a time, each with its children's rows in the next level."""
    first = 0
    for rows in row_blocks(*end.shape):
        children = slice(first, first + int(np.count_nonzero(~end[rows])))
        first = children.stop
        yield rows, children


def _graft(end: Bools, at_end: Floats | float, after: Floats) -> Floats:
    """Returns (n, V): `at_end` where the token ends the completion, elsewhere the children's values `after`."""
    values = np.where(end, at_end, 0.0)
    values[~end] = after
    return values
