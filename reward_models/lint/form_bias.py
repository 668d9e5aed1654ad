"""Does what a text looks like, or where it stood, predict that it is chosen? Length and position."""

import numpy as np

from textrl_env.reward_models.lint.case import Case, Check, nothing
from textrl_env.reward_models.lint.effects import share, standardised_mean
from textrl_env.reward_models.lint.finding import Finding, graded

SMALL, MEDIUM = 0.1, 0.3
"""Rank-biserial correlation, P(for) - P(against), after Cohen 1988."""


def _length(case: Case) -> list[Finding]:
    pairs, words = case.pairs, case.words.ids.lengths
    more = (words[pairs.better] - words[pairs.worse]).astype(np.float64)
    longer = share("P(chosen is longer)", (1 + np.sign(more)) / 2, case.pair_cluster)
    d = standardised_mean("Cohen's d", more, case.pair_cluster)
    near_end = 2 * max(longer.low - 0.5, 0.5 - longer.high)
    which = "longer" if longer.value > 0.5 else "shorter"
    severity = graded(near_end, notice=SMALL, warning=MEDIUM)
    count = max((more > 0).sum(), (more < 0).sum())
    return [
        Finding("length bias", severity, f"prefer the {which} text", int(count), int((more != 0).sum()), "pairs",
                "see whether length is what people value; else add pairs of equal length, or a length penalty",
                effects=(longer,) if d is None else (longer, d))
    ]  # fmt: skip


def _no_places(case: Case) -> str | None:
    return None if case.pairs.place.any() else "no column 'shown' says which stood first"


def _position(case: Case) -> list[Finding]:
    known = case.pairs.place != 0
    place = case.pairs.place[known]
    first = share("P(first shown is chosen)", (1 + place) / 2, case.pair_cluster[known])
    # Order is no merit, so half of what counts as small elsewhere is worth a look.
    near_end = 2 * max(first.low - 0.5, 0.5 - first.high)
    severity = graded(near_end, notice=SMALL / 2, warning=SMALL)
    count = int((place > 0).sum())
    return [
        Finding("position bias", severity, "prefer the text that was shown first", count, len(place), "pairs",
                "show each pair in random order, and look at annotators one by one", effects=(first,))
    ]  # fmt: skip


length = Check("length bias", nothing, _length)
position = Check("position bias", _no_places, _position)
