"""Does an ensemble know where it is wrong? Disagreement of its members against its errors."""

from dataclasses import dataclass

import numpy as np

from textrl_env.reward_models.feedback.raters import sigmoid
from textrl_env.reward_models.report_card.correlation import auroc
from textrl_env.reward_models.report_card.scored import Floats, ScoredPairs
from textrl_env.stats import Estimate, bootstrap_estimate, estimate_mean


@dataclass(frozen=True)
class DisagreementPart:
    """Pairs about which the members disagree similarly much."""

    disagreement: float
    """Mean over the pairs."""
    error: Estimate
    """Share of pairs that the ensemble orders wrongly."""
    n_pairs: int


@dataclass(frozen=True)
class EnsembleReport:
    """Disagreement is the standard deviation over the members of the probability that the first is preferred."""

    n_members: int
    auroc: Estimate
    """Chance that a wrong pair has more of it than a right one; 0.5 says nothing."""
    parts: tuple[DisagreementPart, ...]
    """Quarters of the pairs, from the least disagreement to the most."""


def spread(differences: Floats) -> Floats:
    """Disagreement on score differences of members, (M, K) -> (M,), in [0, 0.5]."""
    found: Floats = sigmoid(differences).std(axis=-1)
    return found


def measure_ensemble(pairs: ScoredPairs, *, rng: np.random.Generator, n_parts: int = 4) -> EnsembleReport | None:
    """None where the model has no members."""
    if pairs.members is None:
        return None
    disagreement = spread(pairs.differences(pairs.members))
    # Ties of people have no side to be wrong on.
    rows = np.flatnonzero(pairs.probabilities != 0.5)
    disagreement, wrong, cluster = disagreement[rows], 1 - pairs.right()[rows], pairs.cluster[rows]
    whole = np.round(wrong)
    area = bootstrap_estimate(lambda at: auroc(disagreement[at], whole[at]), cluster, rng=rng, resamples=500)
    parts = [part for part in np.array_split(np.argsort(disagreement, kind="stable"), n_parts) if len(part)]
    return EnsembleReport(
        n_members=pairs.members.shape[1],
        auroc=area,
        parts=tuple(
            DisagreementPart(
                float(disagreement[part].mean()), estimate_mean(wrong[part], cluster[part], rng=rng), len(part)
            )
            for part in parts
        ),
    )
