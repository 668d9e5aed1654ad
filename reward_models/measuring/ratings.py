"""Preferences made from the scores of individual human raters, with their disagreement kept as a soft label.

Two kinds of pairs. `pairs_from_ratings` pairs any two texts, each with a rater sample of its own: the label says how
often a random rater of one scored it above a random rater of the other. `pairs_from_panels` pairs texts that the *same*
people rated: the label is the share of them who preferred one, a preference in the strict sense. Both make rows of
TRL's preference columns; `soft_label`, `margin` and the ids are extra.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from textrl_env.errors import InputError, require_at_least

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Means are quotients of small whole numbers: two that differ at all differ by far more than this.
_SAME_MEAN = 1e-9
_CHUNK_PAIRS = 8_192


class Rated(Protocol):
    """What a rated text looks like here; `RatedText` of examples/data is one."""

    @property
    def id(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def ratings(self) -> Sequence[int]: ...
    @property
    def panel(self) -> int | None: ...


def preference_probability(ratings_a: Sequence[int], ratings_b: Sequence[int]) -> float:
    """P(r_a > r_b) + P(r_a == r_b) / 2 for one rating drawn from each list (Mann-Whitney U / (n_a n_b)), in [0, 1]."""
    histograms = _histograms([ratings_a, ratings_b])
    return float(_preference_probabilities(histograms[:1], histograms[1:])[0])


def pairs_from_ratings(
    rated: Sequence[Rated], *, n_pairs: int, min_gap: float, rng: np.random.Generator, prompt: str = ""
) -> list[dict[str, Any]]:
    """Distinct pairs, drawn uniformly from all whose mean ratings differ by at least `min_gap` (and differ at all).

    Args:
        rated: the texts; ids must be unique.
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
    _check_request(rated, n_pairs, min_gap)
    means = _means(rated)
    order = np.argsort(means, kind="stable")
    ascending = means[order]
    # For the k-th text in ascending order, how many texts lie at least min_gap below: a prefix of `order`.
    gap = max(min_gap - _SAME_MEAN, _SAME_MEAN)
    below = np.searchsorted(ascending, ascending - gap, side="right").astype(np.int64)
    ends = np.cumsum(below)
    n_eligible = int(ends[-1])
    _check_enough(n_pairs, n_eligible, min_gap)
    picked = rng.choice(n_eligible, size=n_pairs, replace=False)
    upper = np.searchsorted(ends, picked, side="right")
    lower = picked - (ends[upper] - below[upper])
    high, low = order[upper], order[lower]
    histograms = _histograms([item.ratings for item in rated])
    soft = np.concatenate(
        [
            _preference_probabilities(histograms[high[i : i + _CHUNK_PAIRS]], histograms[low[i : i + _CHUNK_PAIRS]])
            for i in range(0, n_pairs, _CHUNK_PAIRS)
        ]
    )
    return [_row(rated, means, int(a), int(b), float(p), prompt) for a, b, p in zip(high, low, soft, strict=True)]


def pairs_from_panels(
    rated: Sequence[Rated], *, n_pairs: int, min_gap: float, rng: np.random.Generator, prompt: str = ""
) -> list[dict[str, Any]]:
    """Like `pairs_from_ratings`, of texts of one panel; `soft_label` is the share of its raters who prefer `chosen`.

    A rater who scored both texts the same counts half. Texts without a panel are left out.
    """
    _check_request(rated, n_pairs, min_gap)
    means = _means(rated)
    panels: dict[int, list[int]] = defaultdict(list)
    for i, item in enumerate(rated):
        if item.panel is not None:
            panels[item.panel].append(i)
    found: list[tuple[int, int]] = []
    for members in panels.values():
        index = np.array(members)
        difference = means[index][:, None] - means[index][None, :]
        for a, b in np.argwhere(difference >= max(min_gap - _SAME_MEAN, _SAME_MEAN)):
            found.append((int(index[a]), int(index[b])))
    _check_enough(n_pairs, len(found), min_gap)
    rows = []
    for pick in rng.choice(len(found), size=n_pairs, replace=False):
        a, b = found[pick]
        difference = _same_raters(rated[a], rated[b])
        soft = float(np.mean(difference > 0) + 0.5 * np.mean(difference == 0))
        rows.append(_row(rated, means, a, b, soft, prompt))
    return rows


def rankings_from_ratings(
    rated: Sequence[Rated], *, size: int, rng: np.random.Generator, prompt: str = ""
) -> list[dict[str, Any]]:
    """All texts once, in random groups of `size`, each ranked by mean rating, with a soft label for every pair.

    A reward model reads each text once and learns from (size - 1) / 2 pairs for it. The last group may be smaller; a
    single text that is left over is dropped.

    Returns:
        Rows `prompt`, `ranking` (best first), `soft_labels` (see `preference_probability`; of 1st and 2nd, 1st and 3rd,
        and so on) and `ranking_ids`.
    """
    require_at_least(2, size=size)
    _check_request(rated, 1, 0)
    means, histograms = _means(rated), _histograms([item.ratings for item in rated])
    order, rows = rng.permutation(len(rated)), []
    for start in range(0, len(order) - 1, size):
        group = order[start : start + size]
        group = group[np.argsort(-means[group], kind="stable")]
        better, worse = np.triu_indices(len(group), 1)
        labels = _preference_probabilities(histograms[group[better]], histograms[group[worse]])
        ranking, ids = [rated[i].text for i in group], [rated[i].id for i in group]
        rows.append({"prompt": prompt, "ranking": ranking, "soft_labels": labels.tolist(), "ranking_ids": ids})
    return rows


def pair_accuracy(scores: Mapping[str, float], pairs: Sequence[Mapping[str, Any]]) -> float:
    """Share of pairs whose chosen text has the higher score, in [0, 1]; equal scores and even labels count half.

    Args:
        scores: by id of the text, from whatever judges.
        pairs: rows with `chosen_id`, `rejected_id` and `soft_label`.
    """
    if not pairs:
        raise InputError("pairs must not be empty")
    difference = np.array([scores[pair["chosen_id"]] - scores[pair["rejected_id"]] for pair in pairs])
    even = np.array([pair["soft_label"] == 0.5 for pair in pairs])
    return float(np.where(even, 0.5, (1 + np.sign(difference)) / 2).mean())


def human_ceiling(rated: Sequence[Rated], pairs: Sequence[Mapping[str, Any]]) -> float:
    """How often one human agrees with the majority of the others on which text of a pair is better, in [0, 1].

    One rating is drawn from each text, u of the n_a of A and v of the n_b of B. The single judgement is the sign of
    u - v, the majority's is the sign of the difference of the means of the *remaining* n_a - 1 and n_b - 1 ratings.
    Agreement counts 1, disagreement 0, and one half where either side is undecided. The value is the mean over all n_a
    n_b draws and then over the pairs: exact, no sampling.

    The two ratings of a draw are mostly from two different people, who also differ in how high they score in general.
    For one person judging both texts see `panel_ceiling`. Neither bounds what a model can reach *against the majority*:
    a model that predicted every mean would agree with it always.

    Args:
        rated: texts with at least two ratings each.
        pairs: rows with `chosen_id` and `rejected_id`, as made above. Which one was chosen plays no part.
    """
    first, second = _indices(rated, pairs)
    lowest = min(min(item.ratings) for item in rated)
    histograms = _histograms([item.ratings for item in rated])
    values = np.arange(histograms.shape[1], dtype=np.int64) + lowest
    counts = histograms.sum(axis=1)
    totals = histograms @ values
    agreement = 0.0
    for start in range(0, len(pairs), _CHUNK_PAIRS):
        a, b = first[start : start + _CHUNK_PAIRS], second[start : start + _CHUNK_PAIRS]
        # (B, K, K): whole numbers, so that a tie of two means is exact.
        rest_a = (totals[a][:, None] - values) * (counts[b][:, None] - 1)
        rest_b = (totals[b][:, None] - values) * (counts[a][:, None] - 1)
        majority = np.sign(rest_a[:, :, None] - rest_b[:, None, :])
        single = np.sign(values[:, None] - values[None, :])
        weight = histograms[a][:, :, None] * histograms[b][:, None, :]
        share = (weight * (1 + majority * single)).sum(axis=(1, 2)) / (2 * counts[a] * counts[b])
        agreement += float(share.sum())
    return agreement / len(pairs)


def panel_ceiling(rated: Sequence[Rated], pairs: Sequence[Mapping[str, Any]]) -> float:
    """`human_ceiling` for pairs of one panel: each rater's own preference against that of the panel's other raters.

    Rater j prefers the text they scored higher; the others prefer the one with the higher mean of their scores. Ties on
    either side count half. Mean over the raters, then over the pairs.
    """
    first, second = _indices(rated, pairs)
    agreement = 0.0
    for a, b in zip(first, second, strict=True):
        difference = _same_raters(rated[a], rated[b])
        agreement += float(np.mean(1 + np.sign(difference) * np.sign(difference.sum() - difference))) / 2
    return agreement / len(pairs)


def _same_raters(a: Rated, b: Rated) -> IntArray:
    """Each rater's score of a minus their score of b, (n,)."""
    if a.panel is None or a.panel != b.panel or len(a.ratings) != len(b.ratings):
        raise InputError(f"texts {a.id!r} and {b.id!r} do not share their raters: panels {a.panel} and {b.panel}")
    return np.asarray(a.ratings, dtype=np.int64) - np.asarray(b.ratings, dtype=np.int64)


def _means(rated: Sequence[Rated]) -> FloatArray:
    return np.array([sum(item.ratings) / len(item.ratings) for item in rated])


def _histograms(ratings: Sequence[Sequence[int]]) -> IntArray:
    """(N, K): how often each whole number from the lowest to the highest rating occurs in each list."""
    lowest = min(min(row) for row in ratings)
    n_values = max(max(row) for row in ratings) - lowest + 1
    owner = np.repeat(np.arange(len(ratings)), [len(row) for row in ratings])
    flat = np.fromiter((value - lowest for row in ratings for value in row), dtype=np.int64)
    return np.bincount(owner * n_values + flat, minlength=len(ratings) * n_values).reshape(-1, n_values)


def _preference_probabilities(a: IntArray, b: IntArray) -> FloatArray:
    """Mann-Whitney for histograms (B, K) and (B, K): wins of a plus half its ties, over all cross pairs. (B,)"""
    not_above = np.cumsum(b, axis=1)
    doubled_wins = (a * (2 * not_above - b)).sum(axis=1)
    return np.asarray(doubled_wins / (2 * a.sum(axis=1) * b.sum(axis=1)), dtype=np.float64)


def _row(rated: Sequence[Rated], means: FloatArray, a: int, b: int, p: float, prompt: str) -> dict[str, Any]:
    if p < 0.5:
        a, b, p = b, a, 1 - p
    return {
        "prompt": prompt,
        "chosen": rated[a].text,
        "rejected": rated[b].text,
        "soft_label": p,
        "margin": float(means[a] - means[b]),
        "chosen_id": rated[a].id,
        "rejected_id": rated[b].id,
    }


def _check_request(rated: Sequence[Rated], n_pairs: int, min_gap: float) -> None:
    if n_pairs < 1:
        raise InputError(f"n_pairs must be >= 1, got {n_pairs}")
    if not 0 <= min_gap < float("inf"):
        raise InputError(f"min_gap must be >= 0, got {min_gap}")
    if len(rated) < 2:
        raise InputError(f"pairs need at least 2 rated texts, got {len(rated)}")
    _index_by_id(rated)


def _check_enough(n_pairs: int, n_eligible: int, min_gap: float) -> None:
    if n_pairs > n_eligible:
        raise InputError(
            f"n_pairs={n_pairs}, but only {n_eligible} pairs have means that differ by at least min_gap={min_gap}; "
            f"ask for fewer pairs or a smaller gap"
        )


def _index_by_id(rated: Sequence[Rated]) -> dict[str, int]:
    index: dict[str, int] = {}
    for i, item in enumerate(rated):
        if not item.ratings:
            raise InputError(f"rated text {item.id!r} (index {i}) has no ratings")
        if index.setdefault(item.id, i) != i:
            raise InputError(f"rated text {item.id!r} is there twice (indices {index[item.id]} and {i})")
    return index


def _indices(rated: Sequence[Rated], pairs: Sequence[Mapping[str, Any]]) -> tuple[IntArray, IntArray]:
    """Positions in `rated` of the two texts of each pair, (B,) and (B,)."""
    if not pairs:
        raise InputError("pairs must not be empty")
    by_id = _index_by_id(rated)
    both = np.empty((len(pairs), 2), dtype=np.int64)
    for row, pair in enumerate(pairs):
        for side, column in enumerate(("chosen_id", "rejected_id")):
            if column not in pair:
                raise InputError(f"pair {row}: no column {column!r} (found: {list(pair)})")
            if pair[column] not in by_id:
                raise InputError(f"pair {row}: {column} {pair[column]!r} is not the id of a rated text")
            both[row, side] = by_id[pair[column]]
    for i in np.unique(both):
        if len(rated[i].ratings) < 2:
            raise InputError(f"rated text {rated[i].id!r} must have at least 2 ratings to leave one out")
    return both[:, 0], both[:, 1]
