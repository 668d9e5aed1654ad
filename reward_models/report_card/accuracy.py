"""Accuracy on the pairs that people compared: in all, by distance of the scores, in slices; its ceiling; mistakes."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from textrl_env.reward_models.feedback.simulated_raters import sigmoid
from textrl_env.reward_models.preferences import Preference
from textrl_env.reward_models.report_card.scores import Floats, Ints, ScoredPairs
from textrl_env.stats import Estimate, estimate_mean

MOST_VALUES = 12
"""Of a column; the rarer ones are put together."""
OTHERS = "(others)"


@dataclass(frozen=True)
class AccuracyPart:
    """Accuracy on some of the pairs."""

    name: str
    """The property that these pairs share."""
    n_pairs: int
    n_prompts: int
    accuracy: Estimate
    expected: float
    """Accuracy that the model's own probabilities promise: the mean of sigmoid(|score difference|)."""
    ceiling: float | None
    """Accuracy of the best predictor of these raters; None where it is not known pair by pair."""


def measure_accuracy(
    pairs: ScoredPairs, rows: Ints, name: str, *, attainable: Floats | None, rng: np.random.Generator
) -> AccuracyPart:
    """Measures the accuracy on some pairs.

    Args:
        pairs: all pairs.
        rows: indices of those to measure on.
        name: of this part.
        attainable: (M,) how often the best predictor of the raters orders each pair of all as they do.
        rng: of the bootstrap.
    """
    cluster = pairs.cluster[rows]
    return AccuracyPart(
        name=name,
        n_pairs=len(rows),
        n_prompts=len(np.unique(cluster)),
        accuracy=estimate_mean(pairs.right()[rows], cluster, rng=rng),
        expected=float(sigmoid(np.abs(pairs.differences(pairs.scores)[rows])).mean()),
        ceiling=None if attainable is None else float(attainable[rows].mean()),
    )


def measure_by_distance(
    pairs: ScoredPairs, *, attainable: Floats | None, rng: np.random.Generator, n_parts: int = 5
) -> list[AccuracyPart]:
    """Measures parts of equal size, from the pairs whose scores are nearest to those farthest apart."""
    distance = np.abs(pairs.differences(pairs.scores))
    order = np.argsort(distance, kind="stable")
    parts = []
    for rows in np.array_split(order, min(n_parts, len(order))):
        name = f"{distance[rows[0]]:.2g} to {distance[rows[-1]]:.2g}"
        parts.append(measure_accuracy(pairs, rows, name, attainable=attainable, rng=rng))
    return parts


def measure_by_slice(
    pairs: ScoredPairs, slices: Mapping[str, Sequence[object]], *, attainable: Floats | None, rng: np.random.Generator
) -> dict[str, list[AccuracyPart]]:
    """Measures, for every column, the accuracy at each of its values, the most frequent first.

    Args:
        pairs: all pairs.
        slices: by the column's name, its value for every preference.
        attainable: as of `measure_accuracy`.
        rng: of the bootstrap.
    """
    parts = {}
    for column, column_values in slices.items():
        values = np.array([str(value) for value in column_values], dtype=object)[pairs.preference]
        names, counts = np.unique(values.astype(str), return_counts=True)
        frequent = [str(names[index]) for index in np.argsort(-counts, kind="stable")[:MOST_VALUES]]
        rows_of = {name: np.flatnonzero(values == name) for name in frequent}
        if rest := np.flatnonzero(~np.isin(values.astype(str), frequent)).tolist():
            rows_of[OTHERS] = np.array(rest)
        parts[column] = [
            measure_accuracy(pairs, rows, name, attainable=attainable, rng=rng) for name, rows in rows_of.items()
        ]
    return parts


@dataclass(frozen=True)
class Ceiling:
    """The best accuracy against these raters.

    Attributes:
        value: in [0.5, 1].
        source: how it is known, in words.
        by_pair: (M,) the same for each pair of the preferences, where it is known so finely.
    """

    value: float
    source: str
    by_pair: Floats | None = None


def estimate_ceiling(preferences: Sequence[Preference], *, least: int = 30) -> Ceiling | None:
    """Computes an upper bound from how often two labels of a pair agree; None with fewer than `least` such pairs.

    If a share p of people prefer a to b, the best predictor is right with max(p, 1 - p) = (1 + |2p - 1|) / 2, and two
    of them agree with p² + (1 - p)² = (1 + (2p - 1)²) / 2. By Jensen's inequality the mean accuracy of the best
    predictor is at most (1 + √(2A - 1)) / 2, A the mean agreement.
    """
    votes: dict[tuple[Any, str, str], list[bool]] = defaultdict(list)
    for preference in preferences:
        for (a, b), probability in zip(combinations(preference.ranking, 2), preference.pair_probabilities, strict=True):
            if probability != 0.5:
                first, second = sorted((a, b))
                votes[preference.prompt, first, second].append((a == first) == (probability > 0.5))
    repeats = [labels for labels in votes.values() if len(labels) > 1]
    if len(repeats) < least:
        return None
    agreement = float(np.mean([np.mean([x == y for x, y in combinations(labels, 2)]) for labels in repeats]))
    value = (1 + math.sqrt(max(0.0, 2 * agreement - 1))) / 2
    return Ceiling(value, f"at most, as two labels of a pair agree in {agreement:.1%} of {len(repeats)} pairs")


def list_mistakes(pairs: ScoredPairs, n: int = 5) -> list[dict[str, Any]]:
    """Lists the n pairs with the largest difference in score against the label, one of each prompt."""
    differences = pairs.differences(pairs.scores) * np.sign(pairs.probabilities - 0.5)
    mistakes: list[dict[str, Any]] = []
    prompts: set[int] = set()
    for row in np.argsort(differences, kind="stable"):
        if differences[row] >= 0 or len(mistakes) == n:
            break
        better, worse = int(pairs.better[row]), int(pairs.worse[row])
        if pairs.probabilities[row] < 0.5:
            better, worse = worse, better
        prompt = int(pairs.prompt_of_text[better])
        if prompt not in prompts:
            prompts.add(prompt)
            mistake = {
                "prompt": str(pairs.prompts[better]),
                "preferred": pairs.completions[better],
                "preferred_score": float(pairs.scores[better]),
                "other": pairs.completions[worse],
                "other_score": float(pairs.scores[worse]),
            }
            mistakes.append(mistake)
    return mistakes
