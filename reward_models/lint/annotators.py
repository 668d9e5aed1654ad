"""Annotators who choose one side whatever it says: the first shown, the longer, or their reverse."""

import numpy as np

from textrl_env.reward_models.lint.case import Case, Check
from textrl_env.reward_models.lint.effects import share
from textrl_env.reward_models.lint.finding import Effect, Example, Finding

MIN_PAIRS = 20
"""Of fewer choices nobody is judged."""
ONE_SIDED = 0.85
"""The whole interval of a share is beyond this, or below its complement."""


def _missing(case: Case) -> str | None:
    return None if any(label.annotator for label in case.labels) else "no column 'annotator'"


def _one_sided(case: Case) -> list[Finding]:
    """Those whose interval lies beyond `ONE_SIDED`, all annotators and sides at once, and leaves out the others."""
    pairs, words = case.pairs, case.words.ids.lengths
    names = sorted({label.annotator for label in case.labels if label.annotator})
    number = {name: index for index, name in enumerate(names)}
    # -1 are the rows that nobody signed.
    annotator = np.array([number.get(label.annotator or "", -1) for label in case.labels])[pairs.row]
    sides = {"shown first": pairs.place, "longer": np.sign(words[pairs.better] - words[pairs.worse])}
    effects: list[Effect] = []
    examples: list[Example] = []
    for side, sign in sides.items():
        n_pairs = np.bincount(annotator[(sign != 0) & (annotator >= 0)], minlength=len(names))
        for index in np.flatnonzero(n_pairs >= MIN_PAIRS).tolist():
            own, others = (sign != 0) & (annotator == index), (sign != 0) & (annotator != index)
            hits = (1 + sign[own].astype(np.float64)) / 2
            effect = share(f"{names[index]}: {side}", hits, case.pair_cluster[own], tests=len(sides) * len(names))
            usual = float((sign[others] > 0).mean()) if others.any() else 0.5
            if (effect.low > ONE_SIDED or effect.high < 1 - ONE_SIDED) and not effect.low <= usual <= effect.high:
                rows = list(dict.fromkeys(pairs.row[own].tolist()))[:2]
                text = f"{names[index]!r} takes what is {side} in {hits.mean():.0%} of pairs, others in {usual:.0%}"
                effects.append(effect)
                examples.append(Example(tuple(case.labels[row].where for row in rows), text))
    if not effects:
        return []
    return [
        Finding("one-sided annotators", "warning", "choose one side whatever it says", len(effects), len(names),
                "annotators", "ask them, or leave their labels out; textrl raters judges everybody",
                effects=tuple(effects), examples=case.examples(examples))
    ]  # fmt: skip


one_sided = Check("one-sided annotators", _missing, _one_sided)
