"""The completions of a prompt as one list; the exact value of best-of-n on it, and estimates from counts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textrl_env.oracle import LogPolicy, PolicyValue, PrefixTree

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Completions:
    """The K completions of a prompt.

    Attributes:
        ids: K tuples of token ids, the end token included where it was chosen.
        scores: (K,).
        logprobs: (K,) log π_ref of each; their probabilities sum to 1.
    """

    ids: tuple[tuple[int, ...], ...]
    scores: Floats
    logprobs: Floats

    @classmethod
    def of(cls, tree: PrefixTree, log_policy: LogPolicy) -> "Completions":
        """Lists the leaves of a tree, with their probabilities under a policy."""
        ids: list[tuple[int, ...]] = []
        scores, logprobs, path = [], [], np.zeros(1)
        for prefixes, end, score, log_pi in zip(tree.prefixes, tree.ends, tree.scores, log_policy, strict=True):
            total = path[:, None] + log_pi
            ids += [(*prefixes[row].tolist(), int(token)) for row, token in np.argwhere(end)]
            scores.append(score[end])
            logprobs.append(total[end])
            path = total[~end]
        return cls(tuple(ids), np.concatenate(scores), np.concatenate(logprobs))


def best_of_n(completions: Completions, n: int, *, coef: float) -> PolicyValue:
    """Computes the exact value of drawing n completions from the reference and keeping a best one, ties broken by lot.

    With F the distribution of the reference's scores, the best has score s with probability F(s)^n - F(s-)^n, shared
    by the completions of that score in proportion to π_ref, so that their log-ratio is
    log((F(s)^n - F(s-)^n) / (F(s) - F(s-)))  (after Beirami et al. 2024, lemma 1).
    """
    scores, place = np.unique(completions.scores, return_inverse=True)
    mass = np.bincount(place, weights=np.exp(completions.logprobs))
    below = np.concatenate([[0.0], np.cumsum(mass) / mass.sum()])
    best = np.diff(below**n)
    # Far below the top, F^n rounds to nothing: what has no probability adds nothing.
    kl = float((best * np.log(np.where(best > 0, best / mass, 1.0))).sum())
    score = float(best @ scores)
    return PolicyValue(score - coef * kl, score, kl)


def estimate(counts: npt.NDArray[np.int64], completions: Completions, *, coef: float) -> tuple[float, float]:
    """Estimates E[score] - coef · KL(π ‖ π_ref) of a policy of which only N sampled completions are known.

    With p the observed frequencies, Σ p (score - coef log(p / π_ref)) + coef (observed kinds - 1) / 2N; the last term
    corrects the entropy, which frequencies underestimate (Miller 1955).

    Args:
        counts: (K,) how often each completion was drawn; N in all.
        completions: the K completions.
        coef: the KL coefficient, 0 or more.

    Returns:
        the estimate and its standard error.
    """
    support = counts > 0
    n = counts.sum()
    p = counts[support] / n
    worth = completions.scores[support] - coef * (np.log(p) - completions.logprobs[support])
    mean = p @ worth
    variance = max(p @ worth**2 - mean**2, 0.0)
    return float(mean + coef * (support.sum() - 1) / (2 * n)), float(np.sqrt(variance / n))


def count(completions: Completions, samples: Sequence[tuple[int, ...]]) -> npt.NDArray[np.int64]:
    """Counts how often each completion was drawn: (K,)."""
    place = {ids: index for index, ids in enumerate(completions.ids)}
    return np.bincount([place[ids] for ids in samples], minlength=len(place))
