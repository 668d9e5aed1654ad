"""Habits of labels whatever the texts say: length, position, words, annotators, and an uneven spread of labels."""

from collections import Counter

import numpy as np

from textrl_env.checks import Check, Effect, Evidence, Finding
from textrl_env.reward_models.lint.corpus import PreferenceCorpus
from textrl_env.reward_models.lint.report import grade_effect, quote
from textrl_env.reward_models.lint.word_odds import compute_word_odds, list_one_sided_words
from textrl_env.reward_models.slices import slice_shares, slices_of
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
CONCENTRATION = 0.5
"""Effective number of prompts over their number."""
SLICE_RATIO = 3.0
"""How many times as many labels the largest slice has as the smallest."""


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
    has_place = corpus.pairs.place != 0
    place = corpus.pairs.place[has_place]
    first = estimate_share((1 + place) / 2, corpus.pair_cluster[has_place])
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
            mask, rest = (sign != 0) & (annotator == index), (sign != 0) & (annotator != index)
            hits = (1 + sign[mask].astype(np.float64)) / 2
            share = estimate_share(hits, corpus.pair_cluster[mask], tests=len(sides) * len(names))
            usual = float((sign[rest] > 0).mean()) if rest.any() else 0.5
            if (share.low > ONE_SIDED or share.high < 1 - ONE_SIDED) and not share.low <= usual <= share.high:
                rows = list(dict.fromkeys(pairs.row[mask].tolist()))[:2]
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


def _find_concentration(corpus: PreferenceCorpus) -> Finding | None:
    """Computes how many prompts would count as much if all had as many labels, (sum n)^2 / sum n^2 (Kish 1965)."""
    counter = Counter(label.prompt for label in corpus.labels)
    counts = np.array(list(counter.values()))
    effective = float(counts.sum() ** 2 / (counts**2).sum())
    if effective >= CONCENTRATION * len(counts):
        return None
    ((prompt, n_labels),) = counter.most_common(1)
    where = [label.where for label in corpus.labels if label.prompt == prompt]
    return Finding(
        "notice",
        f"hold the labels unevenly: they count as {effective:.0f} prompts",
        count=len(counts),
        of=len(counts),
        unit="prompts",
        examples=(Evidence(tuple(where[:2]), f"{n_labels} labels of {quote(corpus.texts[prompt])}"),),
    )


def _find_ties(corpus: PreferenceCorpus) -> Finding | None:
    ties = np.array([all(p == 0.5 for p in label.probabilities) for label in corpus.labels])
    share = estimate_share(ties.astype(np.float64), corpus.cluster)
    if share.low <= 0.5:
        return None
    return Finding(
        "notice",
        "are ties",
        count=int(ties.sum()),
        of=len(ties),
        unit="rows",
        effects=(Effect.of("P(tie)", share),),
        examples=corpus.cite_labels(np.flatnonzero(ties).tolist()),
    )


def _compare_slices(corpus: PreferenceCorpus) -> Finding:
    by = str(corpus.options.by)
    slices = slices_of([{by: label.attribute} for label in corpus.labels], by)
    table = slice_shares(slices, corpus.cluster, rng=np.random.default_rng(0))
    lines = sorted(table.lines, key=lambda line: -line.count)
    largest, smallest = lines[0], lines[-1]
    uneven = table.gap is not None and table.gap.low > 0 and largest.count >= SLICE_RATIO * smallest.count
    return Finding(
        "notice" if uneven else "ok",
        f"by {by!r} hold from {smallest.count} labels ({smallest.name!r}) to {largest.count} ({largest.name!r})",
        remedy=f"textrl balance --by {by} writes weights, or a balanced sample",
        count=len(lines),
        of=len(lines),
        unit="slices",
        effects=tuple(Effect(line.name, line.value, line.low, line.high) for line in lines),
    )


def _lacks_places(corpus: PreferenceCorpus) -> str | None:
    return None if corpus.pairs.place.any() else "no column 'shown' says which stood first"


def _lacks_annotators(corpus: PreferenceCorpus) -> str | None:
    return None if any(label.annotator for label in corpus.labels) else "no column 'annotator'"


def _lacks_column(corpus: PreferenceCorpus) -> str | None:
    return None if corpus.options.by else "no column to slice by (--by)"


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
labels_per_prompt = Check(
    "labels per prompt",
    _find_concentration,
    remedy="weigh rows by 1 / labels of the prompt, or label other prompts",
)
labels_per_slice = Check("labels per slice", _compare_slices, missing=_lacks_column)
ties = Check("ties", _find_ties, remedy="most labels say nothing; show completions that differ more")
