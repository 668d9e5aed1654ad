"""Exact answers for small vocabularies and horizons: the KL-regularised optimum, and the value of any policy.

The prefixes of one prompt's completions form a tree. On it the objective E[score] - coef · KL(π ‖ π_ref) has the
optimum π* ∝ π_ref · exp(score / coef) over completions, found by soft dynamic programming from the leaves up
(Levine 2018, section 2; Rafailov et al. 2023, eq. 4).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textrl_env.errors import InputError, require_above

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
LogPolicy = Sequence[Floats]
"""Per depth t the log-probabilities of the next token, (n_t, V), for the tree's unfinished prefixes of length t."""


@dataclass(frozen=True)
class PrefixTree:
    """All completions over V tokens up to `horizon` tokens, of one prompt.

    Attributes:
        prefixes: per depth t, the unfinished prefixes, (n_t, t) token ids.
        ends: per depth t, (n_t, V), True where choosing the token ends the completion.
        scores: per depth t, (n_t, V), the score paid where it ends, 0 elsewhere.
    """

    prefixes: tuple[Ints, ...]
    ends: tuple[npt.NDArray[np.bool_], ...]
    scores: tuple[Floats, ...]


@dataclass(frozen=True)
class Evaluation:
    """The exact value of a policy: `objective` = `score` - coef · `kl` (nats per completion)."""

    objective: float
    score: float
    kl: float


@dataclass(frozen=True)
class Solution:
    """The optimum: its objective, and per depth the optimal log-policy and the soft value of each prefix."""

    objective: float
    log_policy: tuple[Floats, ...]
    values: tuple[Floats, ...]


def prefix_tree(
    vocab_size: int, horizon: int, *, eos_id: int | None, score: Callable[[list[list[int]]], Sequence[float]]
) -> PrefixTree:
    """The tree of all completions; at most 10^6 prefixes.

    Args:
        vocab_size, horizon: V and the length limit, at least 1 each.
        eos_id: the token that ends a completion, or None.
        score: scores of finished completions given as token ids (with the end token where it was chosen).
    """
    continuing = vocab_size - (eos_id is not None)
    if sum(continuing**depth for depth in range(horizon)) > 1_000_000:
        raise InputError(f"{vocab_size} tokens and horizon {horizon} make more than 10^6 prefixes; lower one of them")
    prefixes, ends, scores = [np.zeros((1, 0), dtype=np.int64)], [], []
    tokens = np.arange(vocab_size)
    for depth in range(horizon):
        here = prefixes[-1]
        children = np.concatenate([here.repeat(vocab_size, axis=0), np.tile(tokens, len(here))[:, None]], axis=1)
        end = np.full(len(children), depth == horizon - 1)
        if eos_id is not None:
            end |= children[:, -1] == eos_id
        paid = np.zeros(len(children))
        paid[end] = np.asarray(score(children[end].tolist()), dtype=np.float64)
        ends.append(end.reshape(-1, vocab_size))
        scores.append(paid.reshape(-1, vocab_size))
        prefixes.append(children[~end])
    return PrefixTree(tuple(prefixes[:-1]), tuple(ends), tuple(scores))


def solve(tree: PrefixTree, log_reference: LogPolicy, *, coef: float) -> Solution:
    """The policy that maximises E[score] - coef · KL(π ‖ π_ref), by soft dynamic programming; coef > 0.

    Q(s, a) = score where a ends, else V(s a);   V(s) = coef · log Σ_a π_ref(a|s) exp(Q(s, a) / coef);
    π*(a|s) = π_ref(a|s) exp((Q(s, a) - V(s)) / coef).
    """
    require_above(0, coef=coef)
    values: list[Floats] = []
    policy: list[Floats] = []
    following = np.zeros(0)
    for end, score, log_ref in _from_the_leaves(tree, log_reference):
        q = score.copy()
        q[~end] = following
        exponents = log_ref + q / coef
        peak = exponents.max(axis=1, keepdims=True)
        log_sum = peak[:, 0] + np.log(np.exp(exponents - peak).sum(axis=1))
        following = coef * log_sum
        policy.append(exponents - log_sum[:, None])
        values.append(following)
    return Solution(float(following[0]), tuple(reversed(policy)), tuple(reversed(values)))


def evaluate(tree: PrefixTree, log_policy: LogPolicy, log_reference: LogPolicy, *, coef: float) -> Evaluation:
    """Exact expected score and KL of a policy on the tree."""
    score_after, kl_after = np.zeros(0), np.zeros(0)
    for (end, score, log_ref), log_pi in zip(_from_the_leaves(tree, log_reference), reversed(log_policy), strict=True):
        probability = np.exp(log_pi)
        scores, kls = score.copy(), np.where(probability > 0, log_pi - log_ref, 0.0)
        scores[~end] = score_after
        kls[~end] += kl_after
        score_after = (probability * scores).sum(axis=1)
        kl_after = (probability * kls).sum(axis=1)
    return Evaluation(float(score_after[0] - coef * kl_after[0]), float(score_after[0]), float(kl_after[0]))


def uniform_policy(tree: PrefixTree) -> list[Floats]:
    """Every token, the end token among them, with probability 1 / V."""
    return [np.full(end.shape, -np.log(end.shape[1])) for end in tree.ends]


def _from_the_leaves(tree: PrefixTree, log_reference: LogPolicy) -> list[tuple[npt.NDArray[np.bool_], Floats, Floats]]:
    levels = list(zip(tree.ends, tree.scores, log_reference, strict=True))
    return [(end, score, np.asarray(log_ref, dtype=np.float64)) for end, score, log_ref in reversed(levels)]
