"""Uncertainty that a model states: calibration of its probabilities, and disagreement of an ensemble's members."""

from dataclasses import dataclass

import numpy as np

from textrl_env.reward_models.feedback.simulated_raters import sigmoid
from textrl_env.reward_models.measuring import PairScores, calibration, expected_calibration_error
from textrl_env.reward_models.report_card.rank_correlation import auroc
from textrl_env.reward_models.report_card.scores import Floats, ScoredPairs
from textrl_env.stats import Estimate, bootstrap_estimate, estimate_mean, percentile_interval


@dataclass(frozen=True)
class ReliabilityBin:
    """Pairs about which the model states similar probabilities, each pair in both orders."""

    predicted: float
    observed: float
    count: int
    low: float
    """Lower end of where `observed` lies in 95 % of the cases if the model is calibrated."""
    high: float


@dataclass(frozen=True)
class Calibration:
    """Reliability on held-out pairs."""

    ece: float
    """Expected calibration error, in [0, 1]."""
    ece_by_chance: float
    """The error that 95 % of perfectly calibrated models stay below with as many pairs: it is never 0 on a sample."""
    temperature: float
    """The scores divided by it are calibrated best: above 1 the model is too sure, infinite where it knows nothing."""
    bins: tuple[ReliabilityBin, ...]


def measure_calibration(pairs: ScoredPairs, *, rng: np.random.Generator, draws: int = 200) -> Calibration:
    """Measures ECE (Guo et al. 2017, eq. 3) and reliability, with consistency bars (Bröcker & Smith 2007).

    The bars come from labels that the model's own probabilities draw: each preference is ranked anew by score plus
    Gumbel noise, which orders every pair with probability sigmoid(difference).

    Args:
        pairs: held-out ones.
        rng: of the labels.
        draws: number of times that all labels are drawn.
    """
    bins = calibration(pairs.pair_scores())
    shares = np.empty((draws, len(bins)))
    eces = np.empty(draws)
    for draw in range(draws):
        entries = calibration(draw_labels(pairs, rng))
        shares[draw] = [entry["observed"] for entry in entries]
        eces[draw] = expected_calibration_error(entries)
    low, high = percentile_interval(shares)
    factor = fit_factor(pairs.pair_scores())
    return Calibration(
        ece=expected_calibration_error(bins),
        ece_by_chance=float(np.quantile(eces, 0.95)),
        temperature=1 / factor if factor > 0 else float("inf"),
        bins=tuple(
            ReliabilityBin(entry["predicted"], entry["observed"], int(entry["count"]), float(low[i]), float(high[i]))
            for i, entry in enumerate(bins)
        ),
    )


def draw_labels(pairs: ScoredPairs, rng: np.random.Generator) -> PairScores:
    """Returns the same pairs with labels that the model itself draws."""
    # A text has noise of its own in every ranking it is part of: a number for each preference and text.
    places = np.concatenate([pairs.preference, pairs.preference]) * len(pairs.scores)
    places = places + np.concatenate([pairs.better, pairs.worse])
    _, index = np.unique(places, return_inverse=True)
    better, worse = np.split(rng.gumbel(size=index.max() + 1)[index], 2)
    differences = pairs.differences(pairs.scores)
    first_wins = differences + better - worse > 0
    return PairScores(np.where(first_wins, differences, -differences), np.ones(len(differences)))


def fit_factor(pairs: PairScores, *, most: float = 1e6) -> float:
    """Fits the a >= 0 for which sigmoid(a · difference) most likely made the labels (Platt scaling, no offset).

    The slope of the log-likelihood, Σ d (p - sigmoid(a d)), falls with a: bisection finds where it is 0, or returns 0
    or about `most` over the largest difference where there is none.
    """
    d, p = pairs.differences, pairs.probabilities
    largest = float(np.abs(d).max(initial=0.0))

    def slope(factor: float) -> float:
        return float((d * (p - sigmoid(factor * d))).sum())

    if largest == 0 or slope(0.0) <= 0:
        return 0.0
    low, high = 0.0, most / largest
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return (low + high) / 2


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


def compute_disagreement(differences: Floats) -> Floats:
    """Computes the disagreement on score differences of members: (..., K) -> (...), in [0, 0.5]."""
    result: Floats = sigmoid(differences).std(axis=-1)
    return result


def measure_ensemble(pairs: ScoredPairs, *, rng: np.random.Generator, n_parts: int = 4) -> EnsembleReport | None:
    """Measures whether the members disagree where the ensemble is wrong; None of a model without members."""
    if pairs.members is None:
        return None
    disagreement = compute_disagreement(pairs.differences(pairs.members))
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
