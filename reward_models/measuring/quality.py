"""Accuracy and calibration of a reward model on held-out preferences, and correlation with held-out ratings."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from textrl_env.reward_models.model import TextScorer
from textrl_env.reward_models.preferences import Preference
from textrl_env.reward_models.training_rows import RatedCompletion

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PairScores:
    """Score differences of preferred minus other completion, (M,), and how likely people prefer it, (M,)."""

    differences: Floats
    probabilities: Floats


def score_pairs(reward_model: TextScorer, preferences: Sequence[Preference]) -> PairScores:
    """Scores all pairs of all rankings, each completion once."""
    texts = [(p.prompt, completion) for p in preferences for completion in p.ranking]
    scores = reward_model.score([prompt for prompt, _ in texts], [completion for _, completion in texts])
    differences: list[float] = []
    probabilities: list[float] = []
    start = 0
    for preference in preferences:
        ranking_scores = scores[start : start + len(preference.ranking)]
        differences += [better - worse for better, worse in combinations(ranking_scores, 2)]
        probabilities += preference.pair_probabilities
        start += len(ranking_scores)
    return PairScores(np.array(differences), np.array(probabilities))


def pair_correctness(pairs: PairScores) -> Floats:
    """Computes 1 where a pair is ordered as preferred, else 0: (M,). Equal scores are half, and so are ties."""
    right = np.where(pairs.differences == 0, 0.5, (pairs.differences > 0) == (pairs.probabilities > 0.5))
    return np.where(pairs.probabilities == 0.5, 0.5, right)


def accuracy(pairs: PairScores) -> float:
    """Share of pairs ordered as preferred, as `pair_correctness` counts them."""
    return float(pair_correctness(pairs).mean())


def calibration(pairs: PairScores, *, n_bins: int = 10) -> list[dict[str, float]]:
    """Compares predicted probabilities with observed frequencies, in equal-width bins over [0, 1].

    Every pair enters in both orders, so that the place of a completion carries no information.

    Returns:
        `predicted` (mean), `observed` (frequency) and `count` of each bin that is not empty.
    """
    differences = np.concatenate([pairs.differences, -pairs.differences])
    predictions = 1 / (1 + np.exp(-differences))
    frequencies = np.concatenate([pairs.probabilities, 1 - pairs.probabilities])
    bins = np.minimum((predictions * n_bins).astype(int), n_bins - 1)
    return [
        {
            "predicted": float(predictions[bins == index].mean()),
            "observed": float(frequencies[bins == index].mean()),
            "count": int((bins == index).sum()),
        }
        for index in range(n_bins)
        if (bins == index).any()
    ]


def expected_calibration_error(bins: Sequence[dict[str, float]]) -> float:
    """Mean |predicted - observed| over the bins, weighted by their counts (Guo et al. 2017, eq. 3)."""
    total = sum(entry["count"] for entry in bins)
    return sum(entry["count"] * abs(entry["predicted"] - entry["observed"]) for entry in bins) / total


def accuracy_by_margin(pairs: PairScores, *, edges: Sequence[float] = (0, 0.5, 1, 2, 4)) -> list[dict[str, Any]]:
    """Computes the accuracy in bins of the absolute score difference; the last bin is open."""
    margins = np.abs(pairs.differences)
    rows: list[dict[str, Any]] = []
    for low, high in zip(edges, [*edges[1:], np.inf], strict=True):
        inside = (margins >= low) & (margins < high)
        if inside.any():
            part = PairScores(pairs.differences[inside], pairs.probabilities[inside])
            row = {"margin_low": low, "accuracy": accuracy(part), "count": int(inside.sum())}
            rows.append(row if np.isinf(high) else row | {"margin_high": high})
    return rows


def quality_report(pairs: PairScores) -> dict[str, Any]:
    """Computes accuracy, calibration, its error and accuracy by margin, as one JSON-ready mapping."""
    bins = calibration(pairs)
    return {
        "accuracy": accuracy(pairs),
        "ece": expected_calibration_error(bins),
        "n_pairs": len(pairs.differences),
        "calibration": bins,
        "accuracy_by_margin": accuracy_by_margin(pairs),
    }


def rating_report(reward_model: TextScorer, rows: Sequence[RatedCompletion]) -> dict[str, Any]:
    """Compares scores with held-out ratings, JSON-ready.

    Returns:
        `n_ratings`; `n_pairs`, pairs of completions (of any prompts) with different ratings; where there are some,
        `accuracy`, the share of them that the scores order as the ratings do (equal scores count half), and
        `correlation`, Pearson's.
    """
    scores = reward_model.score([row.prompt for row in rows], [row.completion for row in rows])
    ratings = np.array([row.rating for row in rows])
    right, n_pairs = 0.0, 0
    for score, rating in zip(scores, ratings, strict=True):
        lower = scores[ratings < rating]
        right += float((score > lower).sum() + (score == lower).sum() / 2)
        n_pairs += len(lower)
    report: dict[str, Any] = {"n_ratings": len(rows), "n_pairs": n_pairs}
    if n_pairs:
        correlation = float(np.corrcoef(scores, ratings)[0, 1]) if np.ptp(scores) else 0.0
        report |= {"accuracy": right / n_pairs, "correlation": correlation}
    return report
