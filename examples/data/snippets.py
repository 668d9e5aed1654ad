"""Texts for training: split by review, cut after their first words, and judged by a lexicon."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from data.movie_reviews import RatedText
from textrl_env import InputError
from textrl_env.errors import require_at_least


def continuation_rows(
    texts: Iterable[str], *, n_words: int, min_words: int = 3, max_words: int | None = None
) -> list[dict[str, str]]:
    """Cuts texts into rows `prompt` (the first `n_words` words) and `completion` (the rest, with the space before it).

    Args:
        texts: to cut.
        n_words: length of the prompt, at least 1.
        min_words: texts with fewer words than this after the prompt are left out; at least 1.
        max_words: so are texts with more words than this after it; None leaves out none.
    """
    require_at_least(1, n_words=n_words, min_words=min_words)
    rows = []
    for text in texts:
        words = text.split()
        n_rest = len(words) - n_words
        if n_rest >= min_words and (max_words is None or n_rest <= max_words):
            rows.append({"prompt": " ".join(words[:n_words]), "completion": " " + " ".join(words[n_words:])})
    return rows


def split_by_review(
    rated: Sequence[RatedText], *, heldout_fraction: float, seed: int
) -> tuple[list[RatedText], list[RatedText]]:
    """Splits into (train, heldout) so that no review, and no repeated text, is on both sides.

    Film reviews have one snippet each, so there it is a split by snippet; two texts that differ only in case and
    punctuation still stay together.

    Args:
        rated: the texts.
        heldout_fraction: share of the texts that is held out, in (0, 1); whole groups are taken until it is reached.
        seed: of a generator of its own; the same seed and texts give the same split.
    """
    if not 0 < heldout_fraction < 1:
        raise InputError(f"heldout_fraction must be in (0, 1), got {heldout_fraction}")
    groups = _groups(rated)
    wanted = heldout_fraction * len(rated)
    heldout: set[int] = set()
    for index in np.random.default_rng(seed).permutation(len(groups)):
        if len(heldout) >= wanted:
            break
        heldout.update(groups[index])
    if not 0 < len(heldout) < len(rated):
        raise InputError(
            f"cannot split {len(rated)} texts of {len(groups)} reviews with heldout_fraction={heldout_fraction}: "
            f"one side would be empty"
        )
    train_side = [item for i, item in enumerate(rated) if i not in heldout]
    return train_side, [item for i, item in enumerate(rated) if i in heldout]


def _groups(rated: Sequence[RatedText]) -> list[list[int]]:
    """Returns indices that must stay together: same review, or same words; transitively. Union-find."""
    parent = list(range(len(rated)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[tuple[str, str], int] = {}
    for i, item in enumerate(rated):
        words = " ".join(re.findall(r"\w+", item.text.casefold())) or item.text
        for key in (("review", item.review), ("words", words)):
            parent[root(i)] = root(first.setdefault(key, i))
    groups: dict[int, list[int]] = {}
    for i in range(len(rated)):
        groups.setdefault(root(i), []).append(i)
    return list(groups.values())


def vader_sentiment(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
    """A reward function: VADER's compound score of each completion, from -1 to 1 (Hutto & Gilbert, ICWSM 2014).

    The judge comes from a lexicon and rules: no model ever trains on it.

    Raises:
        InputError: the package vaderSentiment is not installed.
    """
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ModuleNotFoundError:
        raise InputError('vaderSentiment is not installed; run: pip install -e ".[movie-reviews]"') from None
    analyzer = SentimentIntensityAnalyzer()
    return [float(analyzer.polarity_scores(text)["compound"]) for text in completions]
