"""What the linter looks at: labels, the texts in them, and what they are held against."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from textrl_env.reward_models.lint.finding import Example, Finding, shortened
from textrl_env.reward_models.lint.labels import Label, Labels, read_labels
from textrl_env.reward_models.lint.options import LintOptions
from textrl_env.reward_models.lint.pairs import Items, Pairs, items_of, pairs_of
from textrl_env.reward_models.lint.tokens import Limit, Tokens, tokens_of
from textrl_env.reward_models.lint.words import IntArray, Words, words_of
from textrl_env.reward_models.slices import MIN_CLUSTERS


@dataclass(frozen=True)
class Case:
    """Labels to be looked at, and what follows from them.

    Attributes:
        data: the file.
        texts: all distinct texts of it and of `heldout`; labels have their numbers.
        options: what is asked.
        heldout: labels that should have nothing to do with `data`.
        limit: of tokens, where that is to be checked.
    """

    data: Labels
    texts: tuple[str, ...]
    options: LintOptions
    heldout: Labels | None = None
    limit: Limit | None = None

    @property
    def labels(self) -> tuple[Label, ...]:
        """The usable rows."""
        return self.data.labels

    @cached_property
    def pairs(self) -> Pairs:
        """Of the usable rows."""
        return pairs_of(self.labels)

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
    def items(self) -> Items:
        """Of the pairs."""
        return items_of(self.pairs)

    @cached_property
    def words(self) -> Words:
        """Of all texts."""
        return words_of(self.texts)

    @cached_property
    def same(self) -> IntArray:
        """Per text a number, equal where two differ in case, white space and punctuation only."""
        return self.words.same(self.texts)

    @cached_property
    def tokens(self) -> Tokens | None:
        """Of the texts of `data`, by the tokenizer of `limit`."""
        if self.limit is None:
            return None
        completions = {text for label in self.labels for text in label.ranking}
        prompts = {label.prompt for label in self.labels}
        return tokens_of(self.limit.tokenizer, self.texts, prompts, completions, self.data.conversations)

    def example(self, rows: Sequence[int], *texts: int) -> Example:
        """Rows by their place, and texts by their number."""
        return Example(tuple(self.labels[row].where for row in rows), shortened(*(self.texts[text] for text in texts)))

    def examples(self, found: Sequence[Example]) -> tuple[Example, ...]:
        """As many as are asked for."""
        return tuple(found[: self.options.examples])


@dataclass(frozen=True)
class Check:
    """A question about a case.

    Attributes:
        name: for people.
        missing: what the case lacks for it to be asked, or None.
        look: what it finds.
    """

    name: str
    missing: Callable[[Case], str | None]
    look: Callable[[Case], list[Finding]]


def read_case(
    path: str | Path, options: LintOptions, *, against: str | Path | None = None, limit: Limit | None = None
) -> Case:
    """Reads the file and what it is held against; InputError as of `read_labels`."""
    numbers: dict[str, int] = {}
    data = read_labels(path, numbers, by=options.by)
    heldout = None if against is None else read_labels(against, numbers)
    return Case(data, tuple(numbers), options, heldout, limit)


def nothing(case: Case) -> str | None:
    """For checks that need no more than labels."""
    return None
