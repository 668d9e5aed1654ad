"""The pairs that labels contain, as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from textrl_env.reward_models.lint.labels import Label

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """M pairs with a preference; ties are left out.

    Attributes:
        row: (M,) the label each comes from, from 0.
        prompt, better, worse: (M,) numbers of texts.
        place: (M,) 1 where the better one was shown first, -1 where second, 0 where that is not known.
    """

    row: IntArray
    prompt: IntArray
    better: IntArray
    worse: IntArray
    place: IntArray

    def __len__(self) -> int:
        return len(self.row)


def pairs_of(labels: Sequence[Label]) -> Pairs:
    """All pairs of all rankings; a probability below 1/2 turns a pair round, 1/2 is a tie."""
    rows: list[tuple[int, int, int, int, int]] = []
    for index, label in enumerate(labels):
        for (i, j), probability in zip(combinations(range(len(label.ranking)), 2), label.probabilities, strict=True):
            if probability != 0.5:
                better, worse = (i, j) if probability > 0.5 else (j, i)
                place = 0 if label.shown is None else 1 if label.shown[better] < label.shown[worse] else -1
                rows.append((index, label.prompt, label.ranking[better], label.ranking[worse], place))
    return Pairs(*np.array(rows, dtype=np.int64).reshape(-1, 5).T)


@dataclass(frozen=True)
class Items:
    """I items, completions of one prompt, and the M pairs as items: `first` < `second`, `sign` 1 if first is better."""

    prompt: IntArray
    text: IntArray
    first: IntArray
    second: IntArray
    sign: IntArray

    @property
    def question(self) -> IntArray:
        """(M,) whole numbers from 0, equal where two pairs compare the same items, in either order."""
        return np.asarray(np.unique(self.first * len(self.text) + self.second, return_inverse=True)[1], dtype=np.int64)


def items_of(pairs: Pairs) -> Items:
    """Numbers the completions of each prompt."""
    n_texts = int(max(pairs.better.max(), pairs.worse.max())) + 1 if len(pairs) else 1
    both = np.concatenate([pairs.prompt * n_texts + pairs.better, pairs.prompt * n_texts + pairs.worse])
    keys, number = np.unique(both, return_inverse=True)
    better, worse = number[: len(pairs)], number[len(pairs) :]
    sign = np.where(better < worse, 1, -1)
    return Items(keys // n_texts, keys % n_texts, np.minimum(better, worse), np.maximum(better, worse), sign)
