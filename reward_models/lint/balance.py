"""Labels that are not spread: over prompts, over slices; and ties that say nothing."""

from collections import Counter

import numpy as np

from textrl_env.checks import Check, Effect, Evidence, Finding
from textrl_env.reward_models.lint.corpus import PreferenceCorpus
from textrl_env.reward_models.lint.report import quote
from textrl_env.reward_models.slices import slice_shares, slices_of
from textrl_env.stats import estimate_share

CONCENTRATION = 0.5
"""Effective number of prompts over their number."""
SLICE_RATIO = 3.0
"""How many times as many labels the largest slice has as the smallest."""


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


def _lacks_column(corpus: PreferenceCorpus) -> str | None:
    return None if corpus.options.by else "no column to slice by (--by)"


labels_per_prompt = Check(
    "labels per prompt",
    _find_concentration,
    remedy="weigh rows by 1 / labels of the prompt, or label other prompts",
)
labels_per_slice = Check("labels per slice", _compare_slices, missing=_lacks_column)
ties = Check("ties", _find_ties, remedy="most labels say nothing; show completions that differ more")
