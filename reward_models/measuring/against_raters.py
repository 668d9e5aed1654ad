"""Accuracy of scores against raters: on held-out pairs, beside how often the raters agree with each other."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from textrl_env.errors import InputError
from textrl_env.reward_models.measuring.ratings import (
    CHUNK_PAIRS,
    IntArray,
    TextWithRatings,
    index_by_id,
    pairs_from_ratings,
    panel_differences,
    rating_histograms,
)

ScoreTexts = Callable[[list[str]], Sequence[float] | npt.NDArray[np.float64]]


def accuracy_against_raters(
    judges: Mapping[str, ScoreTexts],
    heldout: Sequence[TextWithRatings],
    *,
    rng: np.random.Generator,
    n_pairs: int = 10_000,
    gaps: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Computes `JUDGE_accuracy_GAP` of every judge and `human_ceiling_GAP`, on the same random pairs of held-out texts.

    Args:
        judges: by name, a function from texts to scores; each reads every text once.
        heldout: rated texts that no judge was trained on.
        rng: of the pairs.
        n_pairs: pairs per gap, or all where there are fewer texts' pairs than that.
        gaps: least differences of the two means by name; default `any` (0) and `half` (0.5 points).
    """
    ids, texts = [item.id for item in heldout], [item.text for item in heldout]
    scores = {name: dict(zip(ids, map(float, judge(texts)), strict=True)) for name, judge in judges.items()}
    result: dict[str, float] = {}
    for gap, least in (gaps or {"any": 0.0, "half": 0.5}).items():
        means = np.array([sum(item.ratings) / len(item.ratings) for item in heldout])
        apart = np.abs(means[:, None] - means[None, :]) >= max(least, 1e-9)
        pairs = pairs_from_ratings(heldout, n_pairs=min(n_pairs, int(apart.sum()) // 2), min_gap=least, rng=rng)
        result |= {f"{name}_accuracy_{gap}": pair_accuracy(by_id, pairs) for name, by_id in scores.items()}
        result[f"human_ceiling_{gap}"] = human_ceiling(heldout, pairs)
    return result


def pair_accuracy(scores: Mapping[str, float], pairs: Sequence[Mapping[str, Any]]) -> float:
    """Computes the share of pairs whose chosen text has the higher score, in [0, 1].

    Equal scores and even labels count half.

    Args:
        scores: by id of the text, from whatever judges.
        pairs: rows with `chosen_id`, `rejected_id` and `soft_label`.
    """
    if not pairs:
        raise InputError("pairs must not be empty")
    difference = np.array([scores[pair["chosen_id"]] - scores[pair["rejected_id"]] for pair in pairs])
    even = np.array([pair["soft_label"] == 0.5 for pair in pairs])
    return float(np.where(even, 0.5, (1 + np.sign(difference)) / 2).mean())


def human_ceiling(texts: Sequence[TextWithRatings], pairs: Sequence[Mapping[str, Any]]) -> float:
    """Computes how often a person agrees with the majority of the others on the better text of a pair, in [0, 1].

    One rating is drawn from each text, u of the n_a of A and v of the n_b of B. The single judgement is the sign of
    u - v, the majority's is the sign of the difference of the means of the *remaining* n_a - 1 and n_b - 1 ratings.
    Agreement counts 1, disagreement 0, and one half where either side is undecided. The value is the mean over all n_a
    n_b draws and then over the pairs: exact, no sampling.

    The two ratings of a draw are mostly from two different people, who also differ in how high they score in general.
    For one person judging both texts see `panel_ceiling`. Neither bounds what a model can reach *against the majority*:
    a model that predicted every mean would agree with it always.

    Args:
        texts: texts with at least two ratings each.
        pairs: rows with `chosen_id` and `rejected_id`, as made above. Which one was chosen plays no part.
    """
    first, second = _pair_indices(texts, pairs)
    lowest = min(min(item.ratings) for item in texts)
    histograms = rating_histograms([item.ratings for item in texts])
    values = np.arange(histograms.shape[1], dtype=np.int64) + lowest
    counts = histograms.sum(axis=1)
    totals = histograms @ values
    agreement = 0.0
    for start in range(0, len(pairs), CHUNK_PAIRS):
        a, b = first[start : start + CHUNK_PAIRS], second[start : start + CHUNK_PAIRS]
        # (B, K, K): whole numbers, so that a tie of two means is exact.
        rest_a = (totals[a][:, None] - values) * (counts[b][:, None] - 1)
        rest_b = (totals[b][:, None] - values) * (counts[a][:, None] - 1)
        majority = np.sign(rest_a[:, :, None] - rest_b[:, None, :])
        single = np.sign(values[:, None] - values[None, :])
        weight = histograms[a][:, :, None] * histograms[b][:, None, :]
        share = (weight * (1 + majority * single)).sum(axis=(1, 2)) / (2 * counts[a] * counts[b])
        agreement += float(share.sum())
    return agreement / len(pairs)


def panel_ceiling(texts: Sequence[TextWithRatings], pairs: Sequence[Mapping[str, Any]]) -> float:
    """Computes `human_ceiling` for pairs of one panel: each rater's preference against that of its other raters.

    Rater j prefers the text they scored higher; the others prefer the one with the higher mean of their scores. Ties on
    either side count half. Mean over the raters, then over the pairs.
    """
    first, second = _pair_indices(texts, pairs)
    agreement = 0.0
    for a, b in zip(first, second, strict=True):
        difference = panel_differences(texts[a], texts[b])
        agreement += float(np.mean(1 + np.sign(difference) * np.sign(difference.sum() - difference))) / 2
    return agreement / len(pairs)


def _pair_indices(texts: Sequence[TextWithRatings], pairs: Sequence[Mapping[str, Any]]) -> tuple[IntArray, IntArray]:
    """Places in `texts` of the two texts of each pair, (B,) and (B,)."""
    if not pairs:
        raise InputError("pairs must not be empty")
    by_id = index_by_id(texts)
    indices = np.empty((len(pairs), 2), dtype=np.int64)
    for row, pair in enumerate(pairs):
        for side, column in enumerate(("chosen_id", "rejected_id")):
            if column not in pair:
                raise InputError(f"pair {row}: no column {column!r} (found: {list(pair)})")
            if pair[column] not in by_id:
                raise InputError(f"pair {row}: {column} {pair[column]!r} is not the id of a rated text")
            indices[row, side] = by_id[pair[column]]
    for i in np.unique(indices):
        if len(texts[i].ratings) < 2:
            raise InputError(f"rated text {texts[i].id!r} must have at least 2 ratings to leave one out")
    return indices[:, 0], indices[:, 1]
