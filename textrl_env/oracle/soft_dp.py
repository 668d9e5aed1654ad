"""Exact answers for small vocabularies and horizons: the KL-regularised optimum, and the value of any policy.

On the tree of one prompt's completions the objective J(π) = E[score] - coef · KL(π ‖ π_ref) has the optimum
π* ∝ π_ref · exp(score / coef) over completions, found by soft dynamic programming from the leaves up (Levine 2018,
section 2; Rafailov et al. 2023, eq. 4). `docs/oracle.md` shows its use.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textrl_env.errors import InputError, require_above, require_at_least
from textrl_env.oracle.tree import Bools, Floats, PrefixTree, prefix_tree, row_blocks

__all__ = [
    "Evaluation", "LogPolicy", "PrefixTree", "Solution", "evaluate", "prefix_tree", "regret", "solve", "uniform_policy",
]  # fmt: skip

LogPolicy = Sequence[Floats]
"""Per depth t the log-probabilities of the next token, (n_t, V), for the tree's unfinished prefixes of length t."""


@dataclass(frozen=True)
class Evaluation:
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


def solve(tree: PrefixTree, log_reference: LogPolicy, *, coef: float) -> Solution:
    """The policy that maximises E[score] - coef · KL(π ‖ π_ref), by soft dynamic programming; coef > 0.

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
            exponents = log_ref[rows] + _grafted(end[rows], score[rows], following[children]) / coef
            peak = exponents.max(axis=1, keepdims=True)
            log_sum = peak + np.log(np.exp(exponents - peak).sum(axis=1, keepdims=True))
            value[rows] = coef * log_sum[:, 0]
            np.subtract(exponents, log_sum, out=log_policy[rows])
        following = value
        policy.append(log_policy)
        values.append(value)
    return Solution(float(following[0]), tuple(reversed(policy)), tuple(reversed(values)))


def evaluate(tree: PrefixTree, log_policy: LogPolicy, log_reference: LogPolicy, *, coef: float) -> Evaluation:
    """Exact expected score and KL of a policy on the tree; coef at least 0.

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
            taken = probability > 0
            # What is never taken counts nothing, were its KL infinite.
            kl = np.subtract(log_pi[rows], log_ref[rows], out=np.zeros(taken.shape), where=taken)
            kl += _grafted(end[rows], 0.0, kl_after[children])
            kls[rows] = np.multiply(probability, kl, out=np.zeros(taken.shape), where=taken).sum(axis=1)
            scores[rows] = (probability * _grafted(end[rows], score[rows], score_after[children])).sum(axis=1)
        score_after, kl_after = scores, kls
    score_of_all, kl_of_all = float(score_after[0]), float(kl_after[0])
    return Evaluation(score_of_all - (coef * kl_of_all if coef else 0.0), score_of_all, kl_of_all)


def regret(tree: PrefixTree, log_policy: LogPolicy, log_reference: LogPolicy, *, coef: float) -> float:
    """How far a policy falls short of the best objective, V* - J(π): coef · KL(π ‖ π*), at least 0; coef > 0."""
    best = solve(tree, log_reference, coef=coef).objective
    return best - evaluate(tree, log_policy, log_reference, coef=coef).objective


def uniform_policy(tree: PrefixTree) -> list[Floats]:
    """Every token, the end token among them, with probability 1 / V."""
    return [np.full(end.shape, -np.log(end.shape[1])) for end in tree.ends]


def _from_the_leaves(tree: PrefixTree, **policies: LogPolicy) -> list[tuple[npt.NDArray[Any], ...]]:
    """(ends, scores, log-probabilities of each policy) by depth, the deepest first; the policies checked."""
    checked = [_checked(tree, name, policy) for name, policy in policies.items()]
    return list(zip(tree.ends, tree.scores, *checked, strict=True))[::-1]


def _checked(tree: PrefixTree, name: str, policy: LogPolicy) -> list[Floats]:
    levels = [np.asarray(level, dtype=np.float64) for level in policy]
    expected, found = [end.shape for end in tree.ends], [level.shape for level in levels]
    if found != expected:
        raise InputError(f"{name} must have a level of log-probabilities a depth, of shapes {expected}, got {found}")
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
    """A level's rows a block at a time, each with its children's rows in the next level."""
    first = 0
    for rows in row_blocks(*end.shape):
        children = slice(first, first + int(np.count_nonzero(~end[rows])))
        first = children.stop
        yield rows, children


def _grafted(end: Bools, at_end: Floats | float, after: Floats) -> Floats:
    """(n, V): `at_end` where the token ends the completion, elsewhere the children's values `after` in order."""
    grafted = np.where(end, at_end, 0.0)
    grafted[~end] = after
    return grafted
