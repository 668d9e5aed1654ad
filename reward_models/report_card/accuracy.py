"""How often the model orders a pair as people did: in all, by how far apart it puts them, and in slices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from textrl_env.reward_models.feedback.raters import sigmoid
from textrl_env.reward_models.report_card.scored import Floats, Ints, ScoredPairs
from textrl_env.stats import Estimate, estimate_mean

MOST_VALUES = 12
"""Of a column; the rarer ones are put together."""
OTHERS = "(others)"


@dataclass(frozen=True)
class Part:
    """Accuracy on some of the pairs."""

    name: str
    """What they have in common."""
    n_pairs: int
    n_prompts: int
    accuracy: Estimate
    expected: float
    """Accuracy that the model's own probabilities promise: the mean of sigmoid(|score difference|)."""
    ceiling: float | None
    """Accuracy of the best predictor of these raters; None where it is not known pair by pair."""


def accuracy_of(
    pairs: ScoredPairs, rows: Ints, name: str, *, attainable: Floats | None, rng: np.random.Generator
) -> Part:
    """Of some pairs.

    Args:
        rows: their indices.
        attainable: (M,) how often the best predictor of the raters orders each pair of all as they do.
        rng: of the bootstrap.
    """
    cluster = pairs.cluster[rows]
    return Part(
        name=name,
        n_pairs=len(rows),
        n_prompts=len(np.unique(cluster)),
        accuracy=estimate_mean(pairs.right()[rows], cluster, rng=rng),
        expected=float(sigmoid(np.abs(pairs.differences(pairs.scores)[rows])).mean()),
        ceiling=None if attainable is None else float(attainable[rows].mean()),
    )


def accuracy_by_distance(
    pairs: ScoredPairs, *, attainable: Floats | None, rng: np.random.Generator, n_parts: int = 5
) -> list[Part]:
    """In parts of equal size, from the pairs whose scores are nearest to those farthest apart."""
    distance = np.abs(pairs.differences(pairs.scores))
    order = np.argsort(distance, kind="stable")
    parts = []
    for rows in np.array_split(order, min(n_parts, len(order))):
        name = f"{distance[rows[0]]:.2g} to {distance[rows[-1]]:.2g}"
        parts.append(accuracy_of(pairs, rows, name, attainable=attainable, rng=rng))
    return parts


def accuracy_by_slice(
    pairs: ScoredPairs, slices: Mapping[str, Sequence[object]], *, attainable: Floats | None, rng: np.random.Generator
) -> dict[str, list[Part]]:
    """For every column the accuracy at each of its values, the most frequent first.

    Args:
        slices: by the column's name, its value for every preference.
    """
    found = {}
    for column, given in slices.items():
        values = np.array([str(value) for value in given], dtype=object)[pairs.preference]
        names, counts = np.unique(values.astype(str), return_counts=True)
        kept = [str(names[index]) for index in np.argsort(-counts, kind="stable")[:MOST_VALUES]]
        parts = {name: np.flatnonzero(values == name) for name in kept}
        if rest := np.flatnonzero(~np.isin(values.astype(str), kept)).tolist():
            parts[OTHERS] = np.array(rest)
        found[column] = [accuracy_of(pairs, rows, name, attainable=attainable, rng=rng) for name, rows in parts.items()]
    return found
