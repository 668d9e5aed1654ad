"""Probes: texts ever farther from the policy's own, and the worth of scores where training will take the policy."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from textrl_env.reward_models.feedback.simulated_raters import word_counts
from textrl_env.reward_models.report_card.samples import Samples
from textrl_env.reward_models.report_card.scores import Floats, Ints
from textrl_env.reward_models.report_card.uncertainty import compute_disagreement
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
    """Measurements on a probe. Gains are in standard deviations of the policy's own samples."""

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
    """Makes probes of the winners of disjoint groups of n = 1, 2, 4, … of a pool, two groups or more for each prompt.

    The best of n is a policy at a known KL, whose texts are those that optimisation finds first.
    """
    m = pool.scores.shape[1]
    probes = []
    n = 1
    while 2 * n <= m:
        groups = pool.scores[:, : m // n * n].reshape(len(pool.scores), m // n, n)
        columns = groups.argmax(axis=2) + n * np.arange(m // n)
        name = "the policy itself" if n == 1 else f"best of {n}"
        probes.append(Probe(name, "best-of-n", best_of_n_kl(n), pool.select(columns)))
        n *= 2
    return probes


def measure_probes(
    probes: Sequence[Probe], *, reference: Samples, rng: np.random.Generator, most_pairs: int = 40
) -> list[ProbeLine]:
    """Measures probes, in order of their KL.

    Args:
        probes: samples of policies.
        reference: samples of the policy itself; gains are from their mean, in their standard deviation.
        rng: of the pairs that are drawn, and of the bootstrap.
        most_pairs: pairs taken from the completions of each prompt.
    """
    by_kl = sorted(probes, key=lambda probe: probe.kl)
    return [_measure(probe, reference, rng=rng, most_pairs=most_pairs) for probe in by_kl]


def _measure(probe: Probe, reference: Samples, *, rng: np.random.Generator, most_pairs: int) -> ProbeLine:
    samples = probe.samples
    n, n_reference = samples.scores.shape[1], reference.scores.shape[1]
    across = _draw_pairs(list(product(range(n), range(n_reference))), most_pairs, rng)
    inside = _draw_pairs(list(combinations(range(n), 2)), most_pairs, rng)
    agreement, n_pairs = _measure_agreement(samples, reference, across, rng)
    disagreement = None
    if samples.members is not None and reference.members is not None:
        differences = samples.members[:, across[:, 0]] - reference.members[:, across[:, 1]]
        disagreement = float(compute_disagreement(differences).mean())
    texts = [text for completions in samples.completions for text in completions]
    return ProbeLine(
        name=probe.name,
        kind=probe.kind,
        kl=probe.kl,
        n_texts=len(texts),
        proxy=_compute_gain(samples.scores, reference.scores),
        gold=None if samples.gold is None or reference.gold is None else _compute_gain(samples.gold, reference.gold),
        agreement=agreement,
        n_pairs=n_pairs,
        within=_measure_agreement(samples, samples, inside, rng)[0],
        disagreement=disagreement,
        words=float(word_counts(texts).mean()),
    )


def _measure_agreement(
    first: Samples, second: Samples, pairs: Ints, rng: np.random.Generator
) -> tuple[Estimate | None, int]:
    """Returns how often score and gold order a text of each of two samples alike, and of how many pairs.

    Args:
        first: samples, as `second` of the same prompts.
        second: samples.
        pairs: (N, 2) places in the first and in the second, the same for each prompt.
        rng: of the bootstrap.
    """
    if first.gold is None or second.gold is None:
        return None, 0
    gold = first.gold[:, pairs[:, 0]] - second.gold[:, pairs[:, 1]]
    score = first.scores[:, pairs[:, 0]] - second.scores[:, pairs[:, 1]]
    prompt, _ = np.nonzero(gold)
    right = (1 + np.sign(gold) * np.sign(score))[gold != 0] / 2
    return (estimate_mean(right, prompt, rng=rng, resamples=200), len(right)) if len(right) else (None, 0)


def _compute_gain(values: Floats, reference: Floats) -> float:
    """Returns the distance from the reference's mean, in its standard deviation; 0 where it has none."""
    return float((values.mean() - reference.mean()) / (reference.std() or np.inf))


def _draw_pairs(pairs: Sequence[tuple[int, int]], most: int, rng: np.random.Generator) -> Ints:
    """Returns all pairs, or a random choice of them: (N, 2)."""
    array = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return array[rng.choice(len(array), size=most, replace=False)] if len(array) > most else array
