"""The corpus that is linted: labels, the texts in them, the pairs they compare, and what they are held against."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np

from textrl_env.checks import Evidence
from textrl_env.reward_models.lint.labels import LabelFile, PreferenceLabel, read_labels
from textrl_env.reward_models.lint.report import LintOptions, quote
from textrl_env.reward_models.lint.texts import (
    IntArray,
    TokenBudget,
    TokenIds,
    Words,
    encode_texts,
    split_words,
)
from textrl_env.reward_models.slices import MIN_CLUSTERS


@dataclass(frozen=True)
class LabelPairs:
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


def list_pairs(labels: Sequence[PreferenceLabel]) -> LabelPairs:
    """Lists all pairs of all rankings; a probability below 1/2 turns a pair round, 1/2 is a tie."""
    rows: list[tuple[int, int, int, int, int]] = []
    for index, label in enumerate(labels):
        for (i, j), probability in zip(combinations(range(len(label.ranking)), 2), label.probabilities, strict=True):
            if probability != 0.5:
                better, worse = (i, j) if probability > 0.5 else (j, i)
                place = 0 if label.places is None else 1 if label.places[better] < label.places[worse] else -1
                rows.append((index, label.prompt, label.ranking[better], label.ranking[worse], place))
    return LabelPairs(*np.array(rows, dtype=np.int64).reshape(-1, 5).T)


@dataclass(frozen=True)
class ComparedItems:
    """I items, completions of a prompt each, and M pairs of items: `first` < `second`, `sign` 1 if first is better."""

    prompt: IntArray
    text: IntArray
    first: IntArray
    second: IntArray
    sign: IntArray

    @property
    def question(self) -> IntArray:
        """(M,) whole numbers from 0, equal where two pairs compare the same items, in either order."""
        return np.asarray(np.unique(self.first * len(self.text) + self.second, return_inverse=True)[1], dtype=np.int64)


def number_items(pairs: LabelPairs) -> ComparedItems:
    """Numbers the completions of each prompt."""
    n_texts = int(max(pairs.better.max(), pairs.worse.max())) + 1 if len(pairs) else 1
    texts = np.concatenate([pairs.better, pairs.worse])
    keys, number = np.unique(np.tile(pairs.prompt, 2) * n_texts + texts, return_inverse=True)
    better, worse = number[: len(pairs)], number[len(pairs) :]
    sign = np.where(better < worse, 1, -1)
    return ComparedItems(keys // n_texts, keys % n_texts, np.minimum(better, worse), np.maximum(better, worse), sign)


@dataclass(frozen=True)
class PreferenceCorpus:
    """Labels to be looked at, and what follows from them, computed when it is first asked for.

    Attributes:
        data: the file.
        texts: all distinct texts of it and of `heldout`; labels have their numbers.
        options: options of the linter.
        heldout: labels that should have nothing to do with `data`.
        budget: most tokens, where these are to be checked.
    """

    data: LabelFile
    texts: tuple[str, ...]
    options: LintOptions
    heldout: LabelFile | None = None
    budget: TokenBudget | None = None

    @property
    def labels(self) -> tuple[PreferenceLabel, ...]:
        """The usable rows."""
        return self.data.labels

    @cached_property
    def pairs(self) -> LabelPairs:
        """The pairs of the usable rows."""
        return list_pairs(self.labels)

    @cached_property
    def cluster(self) -> IntArray:
        """(rows,) whole numbers from 0, equal where the prompt is: labels of one prompt are not independent.

        Rows without a prompt stand alone, and all rows do where there are too few prompts to learn from how they vary.
        """
        few = len({label.prompt for label in self.labels}) < MIN_CLUSTERS
        alone = (
            -1 - row if few or not self.texts[label.prompt] else label.prompt for row, label in enumerate(self.labels)
        )
        return np.unique(np.fromiter(alone, dtype=np.int64), return_inverse=True)[1].astype(np.int64)

    @property
    def pair_cluster(self) -> IntArray:
        """(M,) the cluster of each pair's row."""
        return np.asarray(self.cluster[self.pairs.row])

    @cached_property
    def items(self) -> ComparedItems:
        """The pairs as items."""
        return number_items(self.pairs)

    @cached_property
    def words(self) -> Words:
        """The words of all texts."""
        return split_words(self.texts)

    @cached_property
    def same(self) -> list[int]:
        """A number per text, equal where two differ in case, white space and punctuation only."""
        numbers: list[int] = self.words.number_texts(self.texts).tolist()
        return numbers

    @cached_property
    def tokens(self) -> TokenIds | None:
        """The tokens of the texts of `data`, by the tokenizer of `budget`."""
        if self.budget is None:
            return None
        return encode_texts(
            self.budget.tokenizer,
            self.texts,
            prompts={label.prompt for label in self.labels},
            completions={text for label in self.labels for text in label.ranking},
            conversations=self.data.conversations,
        )

    def cite(self, rows: Sequence[int], *texts: int) -> Evidence:
        """Returns rows by their place, and texts by their number."""
        return Evidence(tuple(self.labels[row].where for row in rows), quote(*(self.texts[text] for text in texts)))

    def cite_labels(self, rows: Sequence[int]) -> tuple[Evidence, ...]:
        """Returns the first rows with their completions, as many as there may be examples."""
        return tuple(self.cite([row], *self.labels[row].ranking) for row in rows[: self.options.examples])


def read_corpus(
    path: str | Path,
    options: LintOptions | None = None,
    *,
    against: str | Path | None = None,
    budget: TokenBudget | None = None,
) -> PreferenceCorpus:
    """Reads a file of preferences and the held-out ones that it is held against.

    Args:
        path: JSONL, JSON, CSV or Parquet with `prompt`, `chosen` and `rejected`, or `ranking`.
        options: options of the linter; by default `LintOptions()`.
        against: a file of held-out preferences.
        budget: a tokenizer and the most tokens, where rows may be too long for a model.

    Raises:
        InputError: a file that cannot be read as a whole, one without rows, or without the column `options.by`.
    """
    options = options or LintOptions()
    numbers: dict[str, int] = {}
    data = read_labels(path, numbers, by=options.by)
    heldout = None if against is None else read_labels(against, numbers)
    return PreferenceCorpus(data, tuple(numbers), options, heldout, budget)
