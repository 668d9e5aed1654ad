"""Judgements as arrays of votes: one rater, two completions of one prompt, which one is better."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.raters.comparisons import Comparison, Rating

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Votes:
    """N votes of R raters on pairs out of I items; an item is one completion of one prompt.

    A ranking of K items gives K (K - 1) / 2 votes, and so do K ratings of one rater for one prompt.

    Attributes:
        raters: R names, sorted.
        items: I pairs (prompt, completion), sorted.
        rater, first, second: (N,) indices into them, first < second.
        vote: (N,), 1 for the first item, -1 for the second, 0 for a tie.
        weight: (N,), 2 / K for a vote out of K items: its ranking counts as K - 1 votes, the number of its choices,
            since the other votes follow from these in part.
        progress: (N,), in [0, 1): how much of the rater's work was done before, by time or else by order of the rows.
    """

    raters: tuple[str, ...]
    items: tuple[tuple[str, str], ...]
    rater: IntArray
    first: IntArray
    second: IntArray
    vote: FloatArray
    weight: FloatArray
    progress: FloatArray

    @property
    def prompt_of_item(self) -> IntArray:
        """Numbers of the items' prompts, (I,) from 0, equal where the prompt is the same."""
        return _number_values(np.array([prompt for prompt, _ in self.items]))

    @property
    def pair(self) -> IntArray:
        """Numbers of the pairs, (N,) from 0, equal where the two items are the same."""
        return _number_values(self.first * len(self.items) + self.second)


def _number_values(values: NDArray[Any]) -> IntArray:
    """Numbers values from 0, equal where the values are."""
    return np.asarray(np.unique(values, return_inverse=True)[1], dtype=np.int64)


def tally_votes(judgements: Sequence[Comparison] | Sequence[Rating]) -> Votes:
    """Counts all votes that judgements contain; InputError where there is none, or a rater rated a text twice."""
    # Items are numbered in the order of their texts. By first appearance, the first rater's favourite would always be
    # an item's "first", and what agreement by chance is would depend on the order of the rows.
    raters = tuple(sorted({judgement.annotator for judgement in judgements}))
    items = tuple(sorted({(j.prompt, text) for j in judgements for text in _texts(j)}))
    rater_index = {name: index for index, name in enumerate(raters)}
    item_index = {item: index for index, item in enumerate(items)}
    n_done, n_total = Counter[str](), Counter(judgement.annotator for judgement in judgements)
    ratings: dict[tuple[str, str], list[tuple[int, float, float]]] = defaultdict(list)
    rows: list[tuple[int, int, int, float, float, float]] = []
    in_time: list[Comparison | Rating] = sorted(judgements, key=lambda judgement: judgement.time or 0.0)
    for judgement in in_time:
        progress = n_done[judgement.annotator] / n_total[judgement.annotator]
        n_done[judgement.annotator] += 1
        index = [item_index[judgement.prompt, text] for text in _texts(judgement)]
        if isinstance(judgement, Rating):
            ratings[judgement.annotator, judgement.prompt].append((index[0], judgement.value, progress))
        else:
            rater, vote, weight = rater_index[judgement.annotator], float(not judgement.tie), 2 / len(index)
            rows += [
                (rater, a, b, vote, weight, progress) if a < b else (rater, b, a, -vote, weight, progress)
                for a, b in combinations(index, 2)
            ]
    parts = [np.array(rows, dtype=np.float64).reshape(-1, 6)]
    parts += [_pair_ratings(rater_index[name], values) for (name, _), values in ratings.items()]
    table = np.concatenate(parts)
    if not len(table):
        raise InputError("no two completions of one prompt were judged by one rater; there is nothing to compare")
    rater_column, first, second = table[:, :3].T.astype(np.int64)
    return Votes(raters, items, rater_column, first, second, *table[:, 3:].T)


def _texts(judgement: Comparison | Rating) -> tuple[str, ...]:
    return (judgement.completion,) if isinstance(judgement, Rating) else judgement.ranking


def _pair_ratings(rater: int, ratings: list[tuple[int, float, float]]) -> FloatArray:
    """Rows (rater, first, second, vote, weight, progress) of a rater's ratings (item, value, progress) of a prompt."""
    table = np.array(sorted(ratings))
    if len(np.unique(table[:, 0])) < len(table):
        raise InputError("a rater rated the same completion of the same prompt twice; keep one of the two ratings")
    first, second = np.triu_indices(len(table), 1)
    vote = np.sign(table[first, 1] - table[second, 1])
    weight, progress = np.full(len(vote), 2 / len(table)), np.maximum(table[first, 2], table[second, 2])
    return np.stack([np.full(len(vote), rater), table[first, 0], table[second, 0], vote, weight, progress], axis=1)
