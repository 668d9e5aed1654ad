"""Texts ever farther from the policy's own: what the scores are still worth where training will take the policy."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from textrl_env.order_statistics import best_of_n_kl
from textrl_env.reward_models.raters import word_counts
from textrl_env.reward_models.report_card.accuracy import Estimate, estimate_mean
from textrl_env.reward_models.report_card.ensemble import spread
from textrl_env.reward_models.report_card.samples import Samples
from textrl_env.reward_models.report_card.scored import Floats, Ints


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
    """Share of pairs of completions of one prompt that score and gold order alike, equal gold left out."""
    n_pairs: int
    disagreement: float | None
    """Of an ensemble's members, mean over those pairs."""
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
    samples = probe.samples
    first, second = _pairs(samples.scores.shape[1], most_pairs, rng)
    agreement = disagreement = None
    n_pairs = 0
    if samples.gold is not None:
        gold = samples.gold[:, first] - samples.gold[:, second]
        score = samples.scores[:, first] - samples.scores[:, second]
        prompt, _ = np.nonzero(gold)
        right = (1 + np.sign(gold) * np.sign(score))[gold != 0] / 2
        agreement, n_pairs = estimate_mean(right, prompt, rng=rng, resamples=200), len(right)
    if samples.members is not None:
        disagreement = float(spread(samples.members[:, first] - samples.members[:, second]).mean())
    texts = [text for own in samples.completions for text in own]
    return ProbeLine(
        name=probe.name,
        kind=probe.kind,
        kl=probe.kl,
        n_texts=len(texts),
        proxy=_gain(samples.scores, reference.scores),
        gold=None if samples.gold is None or reference.gold is None else _gain(samples.gold, reference.gold),
        agreement=agreement,
        n_pairs=n_pairs,
        disagreement=disagreement,
        words=float(word_counts(texts).mean()),
    )


def _gain(values: Floats, reference: Floats) -> float:
    """From the reference's mean, in its standard deviation; 0 where it has none."""
    return float((values.mean() - reference.mean()) / (reference.std() or np.inf))


def _pairs(m: int, most: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Indices of pairs of m, all of them or a random choice."""
    pairs = np.array(list(combinations(range(m), 2)), dtype=np.int64).reshape(-1, 2)
    if len(pairs) > most:
        pairs = pairs[rng.choice(len(pairs), size=most, replace=False)]
    return pairs[:, 0], pairs[:, 1]
