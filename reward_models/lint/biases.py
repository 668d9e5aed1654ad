"""Habits that predict the choice whatever the texts say: length, position, single words, one-sided annotators."""

import numpy as np

from textrl_env.checks import Check, Effect, Evidence, Finding
from textrl_env.reward_models.lint.corpus import PreferenceCorpus
from textrl_env.reward_models.lint.report import grade_effect
from textrl_env.reward_models.lint.word_odds import compute_word_odds, list_one_sided_words
from textrl_env.stats import Estimate, estimate_share, estimate_standardised_mean, normal_quantile

SMALL, MEDIUM = 0.1, 0.3
"""Rank-biserial correlation, P(for) - P(against), after Cohen 1988."""
MIN_OCCURRENCES = 30
"""A word that fewer pairs have on one side only is not looked at: its interval would be too wide to say anything."""
SMALL_ODDS = 1.5
"""Odds ratio; about Cohen's d = 0.2 (Chinn 2000)."""
MAX_WORDS = 20
MIN_PAIRS = 20
"""Of fewer choices nobody is judged."""
ONE_SIDED = 0.85
"""The whole interval of a share is beyond this, or below its complement."""


def _find_length_bias(corpus: PreferenceCorpus) -> Finding:
    pairs, words = corpus.pairs, corpus.words.ids.lengths
    more = (words[pairs.better] - words[pairs.worse]).astype(np.float64)
    longer = estimate_share((1 + np.sign(more)) / 2, corpus.pair_cluster)
    d = estimate_standardised_mean(more, corpus.pair_cluster)
    effects = [Effect.of("P(chosen is longer)", longer)] + ([] if d is None else [Effect.of("Cohen's d", d)])
    return Finding(
        grade_effect(_distance(longer), notice=SMALL, warning=MEDIUM),
        f"prefer the {'longer' if longer.value > 0.5 else 'shorter'} text",
        count=int(max((more > 0).sum(), (more < 0).sum())),
        of=int((more != 0).sum()),
        unit="pairs",
        effects=tuple(effects),
    )


def _find_position_bias(corpus: PreferenceCorpus) -> Finding:
    known = corpus.pairs.place != 0
    place = corpus.pairs.place[known]
    first = estimate_share((1 + place) / 2, corpus.pair_cluster[known])
    return Finding(
        # Order is no merit, so half of what counts as small elsewhere is worth a look.
        grade_effect(_distance(first), notice=SMALL / 2, warning=SMALL),
        "prefer the text that was shown first",
        count=int((place > 0).sum()),
        of=len(place),
        unit="pairs",
        effects=(Effect.of("P(first shown is chosen)", first),),
    )


def _distance(share: Estimate) -> float:
    """Returns the rank-biserial correlation at the end of the interval that is nearer to none."""
    return 2 * max(share.low - 0.5, 0.5 - share.high)


def _find_word_bias(corpus: PreferenceCorpus) -> Finding | None:
    """Compares a word's odds on both sides; the intervals hold for all words at once."""
    pairs, vocabulary = corpus.pairs, corpus.words.vocabulary
    pair, word, side = list_one_sided_words(corpus.words, pairs)
    frequent = np.bincount(word, minlength=len(vocabulary)) >= MIN_OCCURRENCES
    n_tests = int(frequent.sum())
    if not n_tests:
        return None
    # The other words count too: they are what a word's odds are taken against.
    odds = compute_word_odds(word, side, corpus.pair_cluster[pair], len(vocabulary))
    half = normal_quantile(tests=n_tests) * odds.error
    near_end = np.where(frequent, np.abs(odds.delta) - half, -np.inf)
    suspects = np.flatnonzero(near_end > np.log(SMALL_ODDS))
    suspects = suspects[np.argsort(-near_end[suspects], kind="stable")]
    if not len(suspects):
        return None
    ends = np.exp([odds.delta, odds.delta - half, odds.delta + half])
    examples = []
    for i in suspects[: corpus.options.examples]:
        where = dict.fromkeys(corpus.labels[row].where for row in pairs.row[pair[word == i][:2]])
        counts = f"{int(odds.first[i])} chosen and {int(odds.second[i])} rejected"
        examples.append(Evidence(tuple(where), f"{vocabulary[i]!r} in {counts} texts alone"))
    return Finding(
        "notice",
        "predict the choice (odds of chosen to rejected, intervals for all at once)",
        count=len(suspects),
        of=n_tests,
        unit="words",
        effects=tuple(Effect(repr(vocabulary[i]), *ends[:, i].tolist()) for i in suspects[:MAX_WORDS]),
        examples=tuple(examples),
    )


def _find_one_sided_annotators(corpus: PreferenceCorpus) -> Finding | None:
    """Finds annotators whose interval, for all at once, lies beyond `ONE_SIDED` and leaves out what others do."""
    pairs, words = corpus.pairs, corpus.words.ids.lengths
    names = sorted({label.annotator for label in corpus.labels if label.annotator})
    number = {name: index for index, name in enumerate(names)}
    # -1 are the rows that nobody signed.
    annotator = np.array([number.get(label.annotator or "", -1) for label in corpus.labels])[pairs.row]
    sides = {"shown first": pairs.place, "longer": np.sign(words[pairs.better] - words[pairs.worse])}
    effects: list[Effect] = []
    examples: list[Evidence] = []
    for side, sign in sides.items():
        n_pairs = np.bincount(annotator[(sign != 0) & (annotator >= 0)], minlength=len(names))
        for index in np.flatnonzero(n_pairs >= MIN_PAIRS).tolist():
            signed, rest = (sign != 0) & (annotator == index), (sign != 0) & (annotator != index)
            hits = (1 + sign[signed].astype(np.float64)) / 2
            share = estimate_share(hits, corpus.pair_cluster[signed], tests=len(sides) * len(names))
            usual = float((sign[rest] > 0).mean()) if rest.any() else 0.5
            if (share.low > ONE_SIDED or share.high < 1 - ONE_SIDED) and not share.low <= usual <= share.high:
                rows = list(dict.fromkeys(pairs.row[signed].tolist()))[:2]
                text = f"{names[index]!r} takes what is {side} in {hits.mean():.0%} of pairs, others in {usual:.0%}"
                effects.append(Effect.of(f"{names[index]}: {side}", share))
                examples.append(Evidence(tuple(corpus.labels[row].where for row in rows), text))
    if not effects:
        return None
    return Finding(
        "warning",
        "choose one side whatever it says",
        count=len(effects),
        of=len(names),
        unit="annotators",
        effects=tuple(effects),
        examples=tuple(examples[: corpus.options.examples]),
    )


def _lacks_places(corpus: PreferenceCorpus) -> str | None:
    return None if corpus.pairs.place.any() else "no column 'shown' says which stood first"


def _lacks_annotators(corpus: PreferenceCorpus) -> str | None:
    return None if any(label.annotator for label in corpus.labels) else "no column 'annotator'"


length = Check(
    "length bias",
    _find_length_bias,
    remedy="see whether length is what people value; else add pairs of equal length, or a length penalty",
)
position = Check(
    "position bias",
    _find_position_bias,
    remedy="show each pair in random order, and look at annotators one by one",
    missing=_lacks_places,
)
lexical = Check(
    "lexical bias",
    _find_word_bias,
    remedy="see whether they are what people value, or a habit of one source",
)
one_sided_annotators = Check(
    "one-sided annotators",
    _find_one_sided_annotators,
    remedy="ask them, or leave their labels out; textrl raters judges everybody",
    missing=_lacks_annotators,
)
