"""Texts ever farther from the policy's own: what the scores are still worth where training will take the policy."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from textrl_env.reward_models.feedback.raters import word_counts
from textrl_env.reward_models.report_card.ensemble import spread
from textrl_env.reward_models.report_card.samples import Samples
from textrl_env.reward_models.report_card.scored import Floats, Ints
from textrl_env.stats import Estimate, estimate_mean
from textrl_env.stats.comparison import best_of_n_kl


@dataclass(frozen=True)
class Probe:
    """Samples of a policy, and its KL to the policy that the reward model was trained for, in nats per completion."""

    name: str
    kind: str
    """`best-of-n` or `policy`."""
    kl: float
    samples: Samples


@dataclass(frozen=True)
class ProbeLine:
    """What is measured on a probe. Gains are in standard deviations of the policy's own samples."""

    name: str
    kind: str
    kl: float
    n_texts: int
    proxy: float
    """Mean gain in score."""
    gold: float | None
    """Mean gain in gold."""
    agreement: Estimate | None
    """Share of pairs of one of these texts and one of the policy's own, of one prompt, that score and gold order
    alike; equal gold is left out."""
    n_pairs: int
    within: Estimate | None
    """The same share of pairs of two of these texts: what the score can still tell once training is there."""
    disagreement: float | None
    """Of an ensemble's members, mean over the pairs of `agreement`."""
    words: float
    """Mean number."""


def best_of_n_probes(pool: Samples) -> list[Probe]:
    """Winners of disjoint groups of n = 1, 2, 4, … of a pool, while there are two groups or more for each prompt.

    The best of n is a policy at a known KL, whose texts are those that optimisation finds first.
    """
    m = pool.scores.shape[1]
    probes = []
    n = 1
    while 2 * n <= m:
        groups = pool.scores[:, : m // n * n].reshape(len(pool.scores), m // n, n)
        columns = groups.argmax(axis=2) + n * np.arange(m // n)
        name = "the policy itself" if n == 1 else f"best of {n}"
        probes.append(Probe(name, "best-of-n", best_of_n_kl(n), pool.chosen(columns)))
        n *= 2
    return probes


def measure_probes(
    probes: Sequence[Probe], *, reference: Samples, rng: np.random.Generator, most_pairs: int = 40
) -> list[ProbeLine]:
    """In order of their KL.

    Args:
        reference: samples of the policy itself; gains are from their mean, in their standard deviation.
        most_pairs: pairs taken from the completions of each prompt.
    """
    return [_measure(probe, reference, rng, most_pairs) for probe in sorted(probes, key=lambda probe: probe.kl)]


def _measure(probe: Probe, reference: Samples, rng: np.random.Generator, most_pairs: int) -> ProbeLine:
    own, n_own, n_reference = probe.samples, probe.samples.scores.shape[1], reference.scores.shape[1]
    across = _some(list(product(range(n_own), range(n_reference))), most_pairs, rng)
    inside = _some(list(combinations(range(n_own), 2)), most_pairs, rng)
    agreement, n_pairs = _agreement(own, reference, across, rng)
    disagreement = None
    if own.members is not None and reference.members is not None:
        disagreement = float(spread(own.members[:, across[:, 0]] - reference.members[:, across[:, 1]]).mean())
    texts = [text for completions in own.completions for text in completions]
    return ProbeLine(
        name=probe.name,
        kind=probe.kind,
        kl=probe.kl,
        n_texts=len(texts),
        proxy=_gain(own.scores, reference.scores),
        gold=None if own.gold is None or reference.gold is None else _gain(own.gold, reference.gold),
        agreement=agreement,
        n_pairs=n_pairs,
        within=_agreement(own, own, inside, rng)[0],
        disagreement=disagreement,
        words=float(word_counts(texts).mean()),
    )


def _agreement(first: Samples, second: Samples, pairs: Ints, rng: np.random.Generator) -> tuple[Estimate | None, int]:
    """How often score and gold order a text of the first and one of the second alike, and of how many pairs.

    Args:
        pairs: (N, 2) places in the first and in the second, the same for each prompt.
    """
    if first.gold is None or second.gold is None:
        return None, 0
    gold = first.gold[:, pairs[:, 0]] - second.gold[:, pairs[:, 1]]
    score = first.scores[:, pairs[:, 0]] - second.scores[:, pairs[:, 1]]
    prompt, _ = np.nonzero(gold)
    right = (1 + np.sign(gold) * np.sign(score))[gold != 0] / 2
    return (estimate_mean(right, prompt, rng=rng, resamples=200), len(right)) if len(right) else (None, 0)


def _gain(values: Floats, reference: Floats) -> float:
    """From the reference's mean, in its standard deviation; 0 where it has none."""
    return float((values.mean() - reference.mean()) / (reference.std() or np.inf))


def _some(pairs: Sequence[tuple[int, int]], most: int, rng: np.random.Generator) -> Ints:
    """All pairs, or a random choice of them: (N, 2)."""
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return found[rng.choice(len(found), size=most, replace=False)] if len(found) > most else found
