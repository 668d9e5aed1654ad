"""Rows that say again what another says: word for word, but for case and punctuation, or nearly."""

from collections.abc import Hashable, Sequence

import numpy as np

from textrl_env.reward_models.lint.case import Case, Check, nothing
from textrl_env.reward_models.lint.finding import Example, Finding, shortened
from textrl_env.reward_models.lint.minhash import candidates, similarity, sketches
from textrl_env.reward_models.lint.words import Ragged


def _exact(case: Case) -> list[Finding]:
    return _repeats(case, "duplicates", "repeat another row word for word", _repeated(_whole(case)))


def _whole(case: Case) -> list[Hashable]:
    """All that a row says, with its annotator: the same answer of another is a second opinion."""
    return [(each.annotator, each.prompt, each.ranking, each.probabilities) for each in case.labels]


def _normalised(case: Case) -> list[Finding]:
    same = case.same.tolist()
    keys = [
        (each.annotator, same[each.prompt], tuple(same[text] for text in each.ranking), each.probabilities)
        for each in case.labels
    ]
    exactly = {row for _, row in _repeated(_whole(case))}
    repeated = [(first, row) for first, row in _repeated(keys) if row not in exactly]
    message = "repeat another row but for case, white space and punctuation"
    return _repeats(case, "duplicates but for punctuation", message, repeated)


def _repeated(keys: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Rows that have an earlier row's key, each after the first row that has it."""
    first: dict[Hashable, int] = {}
    return [(at, row) for row, key in enumerate(keys) if (at := first.setdefault(key, row)) != row]


def _repeats(case: Case, check: str, message: str, repeated: list[tuple[int, int]]) -> list[Finding]:
    if not repeated:
        return []
    shown = [
        case.example(rows, case.labels[rows[1]].prompt, *case.labels[rows[1]].ranking)
        for rows in repeated[: case.options.examples]
    ]
    remedy = "keep one of each: training counts them twice, and a split may put one on either side"
    return [
        Finding(check, "warning", message, len(repeated), len(case.labels), "rows", remedy,
                examples=tuple(shown))
    ]  # fmt: skip


def _near(case: Case) -> list[Finding]:
    same, ids = case.same.tolist(), case.words.ids
    first_row: dict[tuple[int, ...], int] = {}
    for row, label in enumerate(case.labels):
        first_row.setdefault((same[label.prompt], *(same[text] for text in label.ranking)), row)
    rows = list(first_row.values())
    texts = [(case.labels[row].prompt, *case.labels[row].ranking) for row in rows]
    whole = Ragged.of(np.concatenate([ids[text] for text in each]) for each in texts)
    found: dict[int, tuple[int, float]] = {}
    for first, second in candidates(sketches(whole)).tolist():
        if second not in found and len(texts[first]) == len(texts[second]):
            parts = zip(texts[first], texts[second], strict=True)
            alike = min(1.0 if same[a] == same[b] else similarity(ids[a], ids[b]) for a, b in parts)
            if alike >= case.options.similar:
                found[second] = (first, alike)
    if not found:
        return []
    shown = [
        Example(
            (case.labels[rows[first]].where, case.labels[rows[second]].where),
            f"{alike:.2f} alike: {shortened(case.texts[texts[second][0]])}",
        )
        for second, (first, alike) in found.items()
    ]
    return [
        Finding("near-duplicates", "notice", "are nearly another row, prompt and every completion", len(found),
                len(case.labels), "rows", "see whether they ask the same; if so, keep them on one side of a split",
                examples=case.examples(shown))
    ]  # fmt: skip


exact = Check("duplicates", nothing, _exact)
normalised = Check("duplicates but for punctuation", nothing, _normalised)
near = Check("near-duplicates", nothing, _near)
