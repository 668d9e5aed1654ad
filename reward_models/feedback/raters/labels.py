"""Labels from many raters: one per pair, by majority or by a model of the raters, or each judgement with a weight."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textrl_env.reward_models.feedback.raters.comparisons import Comparison, Rating
from textrl_env.reward_models.feedback.raters.crowd_bt import CrowdBT
from textrl_env.reward_models.feedback.raters.votes import Votes

FloatArray = NDArray[np.float64]


def label_by_majority(votes: Votes) -> list[dict[str, Any]]:
    """Labels each pair with 1 for the side with more votes, and 0.5 where they are even.

    Returns:
        A row per prompt, as `read_preferences` takes them: `prompt`, `chosen`, `rejected`, `ranking`, `soft_labels`.
    """
    pair, first, second = _pairs(votes)
    return _rows(votes, first, second, (1 + np.sign(np.bincount(pair, votes.vote))) / 2)


def label_by_reliability(votes: Votes, fit: CrowdBT) -> list[dict[str, Any]]:
    """Labels each pair with its posterior probability: raters count as far as they can be believed.

    Returns:
        Rows as of `label_by_majority`.
    """
    _, first, second = _pairs(votes)
    return _rows(votes, first, second, fit.preference(first, second))


def weigh_judgements(
    judgements: Sequence[Comparison] | Sequence[Rating], reliability: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Makes a row per judgement for `textrl reward-model`, with the column `weight`: max(0, 2 eta - 1).

    The weight is the slope of Crowd-BT's log-likelihood of an answer, where the two scores are equal, beside the slope
    of a perfect rater's: 1 for one who can be believed, 0 for one who tosses a coin or says the opposite.

    Args:
        judgements: of one kind.
        reliability: eta in [0, 1] of every rater.
    """
    return [
        _row(judgement) | {"weight": max(0.0, 2 * reliability[judgement.annotator] - 1)} for judgement in judgements
    ]


def _row(judgement: Comparison | Rating) -> dict[str, Any]:
    row: dict[str, Any] = {"prompt": judgement.prompt, "annotator": judgement.annotator}
    if isinstance(judgement, Rating):
        return row | {"completion": judgement.completion, "rating": judgement.value}
    ranking = judgement.ranking
    row |= {"chosen": ranking[0], "rejected": ranking[-1], "tie": judgement.tie}
    return row if len(ranking) == 2 else row | {"ranking": list(ranking)}


def _pairs(votes: Votes) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Numbers the pairs: each vote's pair, (N,), and each pair's two items, (P,) and (P,)."""
    pair = votes.pair
    _, at = np.unique(pair, return_index=True)
    return pair, votes.first[at], votes.second[at]


def _rows(
    votes: Votes, first: NDArray[np.int64], second: NDArray[np.int64], probability: FloatArray
) -> list[dict[str, Any]]:
    """Makes a row per prompt, ranked by the sum of an item's labels (Borda); pairs that no rater judged get 0.5.

    Args:
        votes: raters and items.
        first: (P,) items of the pairs.
        second: (P,) the items beside them.
        probability: (P,) that the first is better.
    """
    n = len(votes.items)
    points = np.bincount(first, probability, n) + np.bincount(second, 1 - probability, n)
    label = {(i, j): p for i, j, p in zip(first.tolist(), second.tolist(), probability.tolist(), strict=True)}
    rows = []
    order = np.argsort(votes.prompt_of_item, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(votes.prompt_of_item[order])) + 1):
        ranking = group[np.argsort(-points[group], kind="stable")].tolist()
        soft = [
            label.get((a, b), 0.5) if a < b else 1 - label.get((b, a), 0.5)
            for at, a in enumerate(ranking)
            for b in ranking[at + 1 :]
        ]
        texts = [votes.items[item][1] for item in ranking]
        row = {"prompt": votes.items[ranking[0]][0], "chosen": texts[0], "rejected": texts[-1]}
        rows.append(row | {"ranking": texts, "soft_labels": soft})
    return rows
