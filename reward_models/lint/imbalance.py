"""Labels that are not spread: over prompts, over slices; and ties that say nothing."""

from collections import Counter

import numpy as np

from textrl_env.reward_models.lint.case import Case, Check, nothing
from textrl_env.reward_models.lint.effects import share
from textrl_env.reward_models.lint.finding import Effect, Example, Finding, shortened
from textrl_env.reward_models.slices import slice_shares, slices_of

CONCENTRATED = 0.5
"""Effective number of prompts over their number."""
LOPSIDED = 3.0
"""How many times as many labels the largest slice has as the smallest."""


def _prompts(case: Case) -> list[Finding]:
    """By the number of prompts that would count as much if all had as many labels, (sum n)^2 / sum n^2 (Kish 1965)."""
    found = Counter(label.prompt for label in case.labels)
    counts = np.array(list(found.values()))
    effective = float(counts.sum() ** 2 / (counts**2).sum())
    if effective >= CONCENTRATED * len(counts):
        return []
    ((prompt, n_labels),) = found.most_common(1)
    where = [label.where for label in case.labels if label.prompt == prompt]
    example = Example(tuple(where[:2]), f"{n_labels} labels of {shortened(case.texts[prompt])}")
    return [
        Finding("labels per prompt", "notice", f"hold the labels unevenly: they count as {effective:.0f} prompts",
                len(counts), len(counts), "prompts", "weigh rows by 1 / labels of the prompt, or label other prompts",
                examples=(example,))
    ]  # fmt: skip


def _ties(case: Case) -> list[Finding]:
    tied = np.array([all(p == 0.5 for p in label.probabilities) for label in case.labels])
    effect = share("P(tie)", tied.astype(np.float64), case.cluster)
    if effect.low <= 0.5:
        return []
    rows = np.flatnonzero(tied)[: case.options.examples].tolist()
    shown = [case.example([row], *case.labels[row].ranking) for row in rows]
    return [
        Finding("ties", "notice", "are ties", int(tied.sum()), len(tied), "rows",
                "most labels say nothing; show completions that differ more", effects=(effect,),
                examples=tuple(shown))
    ]  # fmt: skip


def _no_attribute(case: Case) -> str | None:
    return None if case.options.by else "no column to slice by (--by)"


def _slices(case: Case) -> list[Finding]:
    by = str(case.options.by)
    slices = slices_of([{by: label.attribute} for label in case.labels], by)
    table = slice_shares(slices, case.cluster, rng=np.random.default_rng(0))
    lines = sorted(table.lines, key=lambda line: -line.count)
    lopsided = table.gap is not None and table.gap.low > 0 and lines[0].count >= LOPSIDED * lines[-1].count
    effects = tuple(Effect(line.name, line.value, line.low, line.high) for line in lines)
    return [
        Finding("labels per slice", "notice" if lopsided else "ok",
                f"by {by!r} hold from {lines[-1].count} labels ({lines[-1].name!r}) to {lines[0].count} "
                f"({lines[0].name!r})", len(lines), len(lines), "slices",
                f"textrl balance --by {by} writes weights, or a balanced sample", effects=effects)
    ]  # fmt: skip


prompts = Check("labels per prompt", nothing, _prompts)
ties = Check("ties", nothing, _ties)
slices = Check("labels per slice", _no_attribute, _slices)
