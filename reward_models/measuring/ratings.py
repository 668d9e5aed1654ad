"""Preferences made from the scores of individual human raters, with their disagreement kept as a soft label.

Two kinds of pairs. `pairs_from_ratings` pairs any two texts, each with a rater sample of its own: the label says how
often a random rater of one scored it above a random rater of the other. `pairs_from_panels` pairs texts that the *same*
people texts: the label is the share of them who preferred one, a preference in the strict sense. Both make rows of
TRL's preference columns; `soft_label`, `margin` and the ids are extra.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from textrl_env.errors import InputError, require_count

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Means are quotients of small whole numbers: two that differ at all differ by far more than this.
_SAME_MEAN = 1e-9
CHUNK_PAIRS = 8_192


class TextWithRatings(Protocol):
    """A text and its ratings by people; those of one panel rated the same texts, in one order."""

    @property
    def id(self) -> str:
        """Unique name."""

    @property
    def text(self) -> str:
        """The words."""

    @property
    def ratings(self) -> Sequence[int]:
        """Points, one per rater."""

    @property
    def panel(self) -> int | None:
        """Number of the group of people who rated it, in one order; None where that is not known."""


def preference_probability(ratings_a: Sequence[int], ratings_b: Sequence[int]) -> float:
    """Computes P(r_a > r_b) + P(r_a == r_b) / 2, in [0, 1], of one rating drawn from each list.

    Mann-Whitney U / (n_a n_b).
    """
    histograms = rating_histograms([ratings_a, ratings_b])
    return float(_preference_probabilities(histograms[:1], histograms[1:])[0])


def pairs_from_ratings(
    texts: Sequence[TextWithRatings], *, n_pairs: int, min_gap: float, rng: np.random.Generator, prompt: str = ""
) -> list[dict[str, Any]]:
    """Draws distinct pairs uniformly from all whose mean ratings differ by at least `min_gap` (and differ at all).

    Args:
        texts: the texts; ids must be unique.
        n_pairs: how many pairs, >= 1.
        min_gap: least difference of the two means, in rating points, >= 0.
        rng: the caller's generator; the only source of chance.
        prompt: the one prompt that all pairs share.

    Returns:
        Rows `prompt`, `chosen`, `rejected`, `soft_label` (probability in [0.5, 1] that a random rater of one text
        scores it above a random rater of the other; equal scores count half), `margin` (mean of chosen minus mean of
        rejected; negative in the rare pair where the majority of comparisons and the means disagree), `chosen_id`,
        `rejected_id`.
    """
    _check_request(texts, n_pairs, min_gap)
    means = _means(texts)
    order = np.argsort(means, kind="stable")
    ascending = means[order]
    # For the k-th text in ascending order, how many texts lie at least min_gap below: a prefix of `order`.
    gap = max(min_gap - _SAME_MEAN, _SAME_MEAN)
    below = np.searchsorted(ascending, ascending - gap, side="right").astype(np.int64)
    ends = np.cumsum(below)
    n_eligible = int(ends[-1])
    _check_enough(n_pairs, n_eligible, min_gap)
    sample = rng.choice(n_eligible, size=n_pairs, replace=False)
    upper = np.searchsorted(ends, sample, side="right")
    lower = sample - (ends[upper] - below[upper])
    high, low = order[upper], order[lower]
    histograms = rating_histograms([item.ratings for item in texts])
    soft = np.concatenate(
        [
            _preference_probabilities(histograms[high[i : i + CHUNK_PAIRS]], histograms[low[i : i + CHUNK_PAIRS]])
            for i in range(0, n_pairs, CHUNK_PAIRS)
        ]
    )
    return [
        _preference_row(texts, means, (int(a), int(b)), probability=float(p), prompt=prompt)
        for a, b, p in zip(high, low, soft, strict=True)
    ]


def pairs_from_panels(
    texts: Sequence[TextWithRatings], *, n_pairs: int, min_gap: float, rng: np.random.Generator, prompt: str = ""
) -> list[dict[str, Any]]:
    """Draws pairs as `pairs_from_ratings` does, of texts of one panel; `soft_label` is the share who prefer `chosen`.

    A rater who scored both texts the same counts half. Texts without a panel are left out.
    """
    _check_request(texts, n_pairs, min_gap)
    means = _means(texts)
    panels: dict[int, list[int]] = defaultdict(list)
    for i, item in enumerate(texts):
        if item.panel is not None:
            panels[item.panel].append(i)
    eligible: list[tuple[int, int]] = []
    for members in panels.values():
        index = np.array(members)
        difference = means[index][:, None] - means[index][None, :]
        for a, b in np.argwhere(difference >= max(min_gap - _SAME_MEAN, _SAME_MEAN)):
            eligible.append((int(index[a]), int(index[b])))
    _check_enough(n_pairs, len(eligible), min_gap)
    rows = []
    for pick in rng.choice(len(eligible), size=n_pairs, replace=False):
        a, b = eligible[pick]
        difference = panel_differences(texts[a], texts[b])
        soft = float(np.mean(difference > 0) + 0.5 * np.mean(difference == 0))
        rows.append(_preference_row(texts, means, (a, b), probability=soft, prompt=prompt))
    return rows


def rankings_from_ratings(
    texts: Sequence[TextWithRatings], *, size: int, rng: np.random.Generator, prompt: str = ""
) -> list[dict[str, Any]]:
    """Ranks all texts once, in random groups of `size`, by mean rating, with a soft label for every pair.

    A reward model reads each text once and learns from (size - 1) / 2 pairs for it. The last group may be smaller; a
    single text that is left over is dropped.

    Returns:
        Rows `prompt`, `ranking` (best first), `soft_labels` (see `preference_probability`; of 1st and 2nd, 1st and 3rd,
        and so on) and `ranking_ids`.
    """
    require_count(2, size=size)
    _check_request(texts, 1, 0)
    means, histograms = _means(texts), rating_histograms([item.ratings for item in texts])
    order, rows = rng.permutation(len(texts)), []
    for start in range(0, len(order) - 1, size):
        group = order[start : start + size]
        group = group[np.argsort(-means[group], kind="stable")]
        better, worse = np.triu_indices(len(group), 1)
        labels = _preference_probabilities(histograms[group[better]], histograms[group[worse]])
        ranking, ids = [texts[i].text for i in group], [texts[i].id for i in group]
        rows.append({"prompt": prompt, "ranking": ranking, "soft_labels": labels.tolist(), "ranking_ids": ids})
    return rows


def panel_differences(a: TextWithRatings, b: TextWithRatings) -> IntArray:
    """Computes each rater's score of a minus their score of b: (n,). InputError unless one panel rated both."""
    if a.panel is None or a.panel != b.panel or len(a.ratings) != len(b.ratings):
        raise InputError(f"texts {a.id!r} and {b.id!r} do not share their raters: panels {a.panel} and {b.panel}")
    return np.asarray(a.ratings, dtype=np.int64) - np.asarray(b.ratings, dtype=np.int64)


def _means(texts: Sequence[TextWithRatings]) -> FloatArray:
    return np.array([sum(item.ratings) / len(item.ratings) for item in texts])


def rating_histograms(ratings: Sequence[Sequence[int]]) -> IntArray:
    """Counts how often each whole number from the lowest to the highest rating occurs in each list: (N, K)."""
    lowest = min(min(row) for row in ratings)
    n_values = max(max(row) for row in ratings) - lowest + 1
    owner = np.repeat(np.arange(len(ratings)), [len(row) for row in ratings])
    flat = np.fromiter((value - lowest for row in ratings for value in row), dtype=np.int64)
    return np.bincount(owner * n_values + flat, minlength=len(ratings) * n_values).reshape(-1, n_values)


def _preference_probabilities(a: IntArray, b: IntArray) -> FloatArray:
    """Mann-Whitney for histograms (B, K) and (B, K): wins of a plus half its ties, over all cross pairs, (B,)."""
    not_above = np.cumsum(b, axis=1)
    doubled_wins = (a * (2 * not_above - b)).sum(axis=1)
    return np.asarray(doubled_wins / (2 * a.sum(axis=1) * b.sum(axis=1)), dtype=np.float64)


def _preference_row(
    texts: Sequence[TextWithRatings], means: FloatArray, pair: tuple[int, int], *, probability: float, prompt: str
) -> dict[str, Any]:
    a, b = pair
    if probability < 0.5:
        a, b, probability = b, a, 1 - probability
    return {
        "prompt": prompt,
        "chosen": texts[a].text,
        "rejected": texts[b].text,
        "soft_label": probability,
        "margin": float(means[a] - means[b]),
        "chosen_id": texts[a].id,
        "rejected_id": texts[b].id,
    }


def _check_request(texts: Sequence[TextWithRatings], n_pairs: int, min_gap: float) -> None:
    if n_pairs < 1:
        raise InputError(f"n_pairs must be >= 1, got {n_pairs}")
    if not 0 <= min_gap < float("inf"):
        raise InputError(f"min_gap must be >= 0, got {min_gap}")
    if len(texts) < 2:
        raise InputError(f"pairs need at least 2 rated texts, got {len(texts)}")
    index_by_id(texts)


def _check_enough(n_pairs: int, n_eligible: int, min_gap: float) -> None:
    if n_pairs > n_eligible:
        raise InputError(
            f"n_pairs={n_pairs}, but only {n_eligible} pairs have means that differ by at least min_gap={min_gap}; "
            f"ask for fewer pairs or a smaller gap"
        )


def index_by_id(texts: Sequence[TextWithRatings]) -> dict[str, int]:
    """Maps ids to places; InputError where an id is there twice, or a text has no ratings."""
    index: dict[str, int] = {}
    for i, item in enumerate(texts):
        if not item.ratings:
            raise InputError(f"rated text {item.id!r} (index {i}) has no ratings")
        if index.setdefault(item.id, i) != i:
            raise InputError(f"rated text {item.id!r} is there twice (indices {index[item.id]} and {i})")
    return index
