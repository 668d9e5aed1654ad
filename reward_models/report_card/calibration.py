"""Does the model mean the probabilities that its scores state? Reliability, and what chance alone would show."""

from dataclasses import dataclass

import numpy as np

from textrl_env.reward_models.feedback.raters import sigmoid
from textrl_env.reward_models.measuring import PairScores, calibration, expected_calibration_error
from textrl_env.reward_models.report_card.scored import Floats, ScoredPairs
from textrl_env.stats import percentile_interval


@dataclass(frozen=True)
class ReliabilityBin:
    """Pairs about which the model states similar probabilities, each pair in both orders."""

    predicted: float
    observed: float
    count: int
    low: float
    """Where `observed` lies in 95 % of the cases if the model is calibrated."""
    high: float


@dataclass(frozen=True)
class Calibration:
    """Reliability on held-out pairs."""

    ece: float
    """Expected calibration error, in [0, 1]."""
    ece_by_chance: float
    """What 95 % of perfectly calibrated models stay below with as many pairs: ECE is never 0 on a sample."""
    temperature: float
    """The scores divided by it are calibrated best: above 1 the model is too sure, infinite where it knows nothing."""
    bins: tuple[ReliabilityBin, ...]


def measure_calibration(pairs: ScoredPairs, *, rng: np.random.Generator, draws: int = 200) -> Calibration:
    """ECE (Guo et al. 2017, eq. 3) and reliability, with consistency bars (Bröcker & Smith 2007).

    The bars come from labels that the model's own probabilities draw: each preference is ranked anew by score plus
    Gumbel noise, which orders every pair with probability sigmoid(difference).
    """
    bins = calibration(pairs.pair_scores())
    observed = np.empty((draws, len(bins)))
    eces = np.empty(draws)
    for draw in range(draws):
        drawn = calibration(relabelled(pairs, rng))
        observed[draw] = [entry["observed"] for entry in drawn]
        eces[draw] = expected_calibration_error(drawn)
    low, high = percentile_interval(observed)
    factor = best_factor(pairs.pair_scores())
    return Calibration(
        ece=expected_calibration_error(bins),
        ece_by_chance=float(np.quantile(eces, 0.95)),
        temperature=1 / factor if factor > 0 else float("inf"),
        bins=tuple(
            ReliabilityBin(entry["predicted"], entry["observed"], int(entry["count"]), float(low[i]), float(high[i]))
            for i, entry in enumerate(bins)
        ),
    )


def relabelled(pairs: ScoredPairs, rng: np.random.Generator) -> PairScores:
    """The same pairs with labels that the model itself draws."""
    # A text has noise of its own in every ranking it is part of: a number for each preference and text.
    places = np.concatenate([pairs.preference, pairs.preference]) * len(pairs.scores)
    places = places + np.concatenate([pairs.better, pairs.worse])
    _, index = np.unique(places, return_inverse=True)
    better, worse = np.split(rng.gumbel(size=index.max() + 1)[index], 2)
    differences = pairs.differences(pairs.scores)
    first_wins = differences + better - worse > 0
    return PairScores(np.where(first_wins, differences, -differences), np.ones(len(differences)))


def best_factor(pairs: PairScores, *, most: float = 1e6) -> float:
    """The a >= 0 for which sigmoid(a · difference) is the likeliest to have made the labels (Platt scaling, no offset).

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


def stated(pairs: ScoredPairs, factor: float) -> Floats:
    """(M,) the probability that the first is preferred, after the scores are multiplied by `factor`."""
    return sigmoid(factor * pairs.differences(pairs.scores))
