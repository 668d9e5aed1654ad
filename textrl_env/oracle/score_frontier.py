"""The best score reachable at each KL, exactly; and what another reward makes of the same policies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textrl_env.errors import require_above
from textrl_env.oracle.soft_dp import LogPolicy, evaluate, solve
from textrl_env.oracle.tree import PrefixTree

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Frontier:
    """The KL-optimal policies at K coefficients: `coefs`, `kl` (nats per completion) and `score`, each (K,)."""

    coefs: Floats
    kl: Floats
    score: Floats


def frontier(
    tree: PrefixTree, log_reference: LogPolicy, coefs: Sequence[float] | Floats, *, judge: PrefixTree | None = None
) -> Frontier:
    """KL and score of the optimum at each coefficient.

    No policy with as little KL scores more on the tree. The score is an increasing concave function of the KL, and its
    slope where the optimum of a coefficient stands is that coefficient.

    Args:
        tree: whose score the policies maximise.
        log_reference: the policy that KL is measured from.
        coefs: (K,), each above 0; smaller ones reach farther.
        judge: a tree of the same completions whose score is reported instead: gold, where `tree` pays a proxy. It may
            fall as the coefficients do (Gao et al. 2023).
    """
    reached = []
    for coef in coefs:
        policy = solve(tree, log_reference, coef=float(coef)).log_policy
        reached.append(evaluate(judge or tree, policy, log_reference, coef=float(coef)))
    return Frontier(
        np.asarray(coefs, dtype=np.float64),
        np.array([each.kl for each in reached]),
        np.array([each.score for each in reached]),
    )


def best_score_within(tree: PrefixTree, log_reference: LogPolicy, *, kl: float) -> float:
    """The best score that a policy reaches with at most `kl` nats per completion; `kl` above 0.

    By Lagrangian duality it is the least of V*(coef) + coef · kl over the coefficients, where the optimum's KL is `kl`:
    found by bisection, for about 35 times the work of `solve` and `evaluate`.
    """
    require_above(0, kl=kl)
    paid = np.concatenate([scores[end] for end, scores in zip(tree.ends, tree.scores, strict=True)])
    span = float(np.ptp(paid)) or 1.0
    # An optimum's KL falls as its coefficient rises, and is at most (span / coef)^2 / 8 (Hoeffding's lemma).
    low, high = 1e-9 * span, span / math.sqrt(8 * kl)
    while high > (1 + 1e-8) * low:
        coef = math.sqrt(low * high)
        spent = evaluate(tree, solve(tree, log_reference, coef=coef).log_policy, log_reference, coef=coef).kl
        low, high = (coef, high) if spent > kl else (low, coef)
    return solve(tree, log_reference, coef=high).objective + high * kl
