"""Words whose presence predicts that a text is chosen."""

import numpy as np
from numpy.typing import NDArray

from textrl_env.reward_models.lint.case import Case, Check, nothing
from textrl_env.reward_models.lint.finding import Effect, Example, Finding
from textrl_env.reward_models.lint.log_odds import word_log_odds
from textrl_env.reward_models.lint.pairs import Pairs
from textrl_env.reward_models.lint.words import IntArray, Ragged, Words
from textrl_env.stats import normal_quantile

MIN_OCCURRENCES = 30
"""A word that fewer pairs have on one side only is not looked at: its interval would be too wide to say anything."""
SMALL = 1.5
"""Odds ratio; about Cohen's d = 0.2 (Chinn 2000)."""
SHOWN = 20
_BLOCK = 20_000


def _lexical(case: Case) -> list[Finding]:
    """By word the log-odds ratio (`word_log_odds`), with intervals that hold for all words tested at once."""
    pairs, vocabulary = case.pairs, case.words.vocabulary
    pair, word, side = one_sided_words(case.words, pairs)
    frequent = np.bincount(word, minlength=len(vocabulary)) >= MIN_OCCURRENCES
    n_tested = int(frequent.sum())
    if not n_tested:
        return []
    # The other words count too: they are what a word's odds are taken against.
    odds = word_log_odds(word, side, case.pair_cluster[pair], len(vocabulary))
    half = normal_quantile(tests=n_tested) * odds.error
    near_end = np.where(frequent, np.abs(odds.delta) - half, -np.inf)
    found = np.flatnonzero(near_end > np.log(SMALL))
    found = found[np.argsort(-near_end[found], kind="stable")]
    if not len(found):
        return []
    effects = tuple(
        Effect(repr(vocabulary[i]), *np.exp([odds.delta[i], odds.delta[i] - half[i], odds.delta[i] + half[i]]).tolist())
        for i in found[:SHOWN]
    )
    where = [pair[word == i][:2] for i in found[: case.options.examples]]
    shown = [
        Example(tuple(dict.fromkeys(case.labels[row].where for row in pairs.row[at])),
                f"{vocabulary[i]!r} in {int(odds.first[i])} chosen and {int(odds.second[i])} rejected texts alone")
        for i, at in zip(found, where, strict=False)
    ]  # fmt: skip
    return [
        Finding("lexical bias", "notice", "predict the choice (odds of chosen to rejected, intervals for all at once)",
                len(found), n_tested, "words", "see whether they are what people value, or a habit of one source",
                effects=effects, examples=tuple(shown))
    ]  # fmt: skip


def one_sided_words(words: Words, pairs: Pairs) -> tuple[IntArray, IntArray, IntArray]:
    """Words that one completion of a pair has and the other has not: pair, word, and 1 if it is the better one's.

    A word counts once a text.
    """
    n_words = len(words.vocabulary)
    found: list[NDArray[np.int64]] = [np.zeros((3, 0), dtype=np.int64)]
    for start in range(0, len(pairs), _BLOCK):
        block = slice(start, start + _BLOCK)
        keys = [np.unique(_pair_and_word(words.ids, texts[block], n_words)) for texts in (pairs.better, pairs.worse)]
        both, n_sides = np.unique(np.concatenate(keys), return_counts=True)
        alone = both[n_sides == 1]
        better = np.isin(alone, keys[0], assume_unique=True)
        found.append(np.stack([alone // n_words + start, alone % n_words, np.where(better, 1, -1)]))
    pair, word, side = np.concatenate(found, axis=1)
    return pair, word, side


def _pair_and_word(ids: Ragged, texts: IntArray, n_words: int) -> IntArray:
    """Pair * n_words + word of every word of N texts."""
    lengths = ids.lengths[texts]
    ends = np.cumsum(lengths)
    at = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(ids.starts[texts] - ends + lengths, lengths)
    return np.repeat(np.arange(len(texts)), lengths) * n_words + ids.values[at].astype(np.int64)


lexical = Check("lexical bias", nothing, _lexical)
