"""Rows that say again what another says, in the same file or in the held-out one: word for word, or nearly."""

from collections.abc import Hashable, Sequence

import numpy as np

from textrl_env.checks import Check, Evidence, Finding, Outcome
from textrl_env.reward_models.lint.corpus import PreferenceCorpus
from textrl_env.reward_models.lint.labels import PreferenceLabel
from textrl_env.reward_models.lint.minhash import (
    compute_similarity,
    compute_sketches,
    find_candidates,
    find_candidates_across,
)
from textrl_env.reward_models.lint.report import quote
from textrl_env.reward_models.lint.texts import Ragged


def _find_exact(corpus: PreferenceCorpus) -> Finding | None:
    return _report_repeats(corpus, "repeat another row word for word", _list_repeats(_exact_keys(corpus)))


def _find_normal(corpus: PreferenceCorpus) -> Finding | None:
    same = corpus.same
    keys = [
        (label.annotator, same[label.prompt], tuple(same[text] for text in label.ranking), label.probabilities)
        for label in corpus.labels
    ]
    exact = {row for _, row in _list_repeats(_exact_keys(corpus))}
    repeats = [(first, row) for first, row in _list_repeats(keys) if row not in exact]
    return _report_repeats(corpus, "repeat another row but for case, white space and punctuation", repeats)


def _exact_keys(corpus: PreferenceCorpus) -> list[Hashable]:
    """Returns everything a row says, with its annotator: the same answer of another is a second opinion."""
    return [(label.annotator, label.prompt, label.ranking, label.probabilities) for label in corpus.labels]


def _list_repeats(keys: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Lists rows that have an earlier row's key, each after the first row that has it."""
    first: dict[Hashable, int] = {}
    return [(at, row) for row, key in enumerate(keys) if (at := first.setdefault(key, row)) != row]


def _report_repeats(corpus: PreferenceCorpus, message: str, repeats: list[tuple[int, int]]) -> Finding | None:
    if not repeats:
        return None
    examples = [
        corpus.cite([first, row], corpus.labels[row].prompt, *corpus.labels[row].ranking)
        for first, row in repeats[: corpus.options.examples]
    ]
    return Finding("warning", message, count=len(repeats), of=len(corpus.labels), unit="rows", examples=tuple(examples))


def _find_near(corpus: PreferenceCorpus) -> Finding | None:
    same, ids = corpus.same, corpus.words.ids
    first_row: dict[tuple[int, ...], int] = {}
    for row, label in enumerate(corpus.labels):
        first_row.setdefault((same[label.prompt], *(same[text] for text in label.ranking)), row)
    rows = list(first_row.values())
    texts = [(corpus.labels[row].prompt, *corpus.labels[row].ranking) for row in rows]
    whole = Ragged.of(np.concatenate([ids[text] for text in group]) for group in texts)
    twins: dict[int, tuple[int, float]] = {}
    for first, second in find_candidates(compute_sketches(whole)).tolist():
        if second not in twins and len(texts[first]) == len(texts[second]):
            parts = zip(texts[first], texts[second], strict=True)
            alike = min(1.0 if same[a] == same[b] else compute_similarity(ids[a], ids[b]) for a, b in parts)
            if alike >= corpus.options.similar:
                twins[second] = (first, alike)
    if not twins:
        return None
    examples = [
        Evidence(
            (corpus.labels[rows[first]].where, corpus.labels[rows[second]].where),
            f"{alike:.2f} alike: {quote(corpus.texts[texts[second][0]])}",
        )
        for second, (first, alike) in twins.items()
    ]
    return Finding(
        "notice",
        "are nearly another row, prompt and every completion",
        count=len(twins),
        of=len(corpus.labels),
        unit="rows",
        examples=tuple(examples[: corpus.options.examples]),
    )


def _find_leakage(corpus: PreferenceCorpus) -> list[Finding]:
    """Finds pairs, prompts and prompts nearly the same that are held out too; a row is named once, by the gravest."""
    same = corpus.same
    questions, prompts = dict[tuple[int, frozenset[int]], PreferenceLabel](), dict[int, PreferenceLabel]()
    for label in corpus.heldout.labels if corpus.heldout else ():
        questions.setdefault(_question(label, same), label)
        prompts.setdefault(same[label.prompt], label)
    same_question, same_prompt = list[Evidence](), list[Evidence]()
    rest: dict[int, PreferenceLabel] = {}
    for label in corpus.labels:
        if twin := questions.get(_question(label, same)):
            same_question.append(_cite_twins(corpus, label, twin))
        elif twin := prompts.get(same[label.prompt]):
            same_prompt.append(_cite_twins(corpus, label, twin))
        else:
            rest.setdefault(same[label.prompt], label)
    same_side = "see whether they ask the same; if so, keep them on one side of the split"
    levels: tuple[tuple[Outcome, str, list[Evidence], str], ...] = (
        (
            "error",
            "have completions of a prompt that are held out too",
            same_question,
            "remove them from one of the files: what was trained on measures nothing",
        ),
        (
            "warning",
            "have a prompt that is held out too",
            same_prompt,
            "split by prompt: its other completions were trained on",
        ),
        ("notice", "have a prompt that is nearly one held out", _find_near_prompts(corpus, rest, prompts), same_side),
    )
    return [
        Finding(
            severity,
            message,
            remedy=remedy,
            count=len(evidence),
            of=len(corpus.labels),
            unit="rows",
            examples=tuple(evidence[: corpus.options.examples]),
        )
        for severity, message, evidence, remedy in levels
        if evidence
    ]


def _question(label: PreferenceLabel, same: list[int]) -> tuple[int, frozenset[int]]:
    """Returns the prompt and the completions, in whatever order they are preferred."""
    return same[label.prompt], frozenset(same[text] for text in label.ranking)


def _find_near_prompts(
    corpus: PreferenceCorpus, rest: dict[int, PreferenceLabel], heldout: dict[int, PreferenceLabel]
) -> list[Evidence]:
    """Finds labels, by text number in `rest`, whose prompt is nearly one of `heldout`, each with the closest."""
    first, second = (sorted(labels.items(), key=lambda item: item[1].where) for labels in (heldout, rest))
    if not first or not second:
        return []
    ids = corpus.words.ids
    bands = [compute_sketches(Ragged.of(ids[label.prompt] for _, label in labels)) for labels in (first, second)]
    closest: dict[int, tuple[float, PreferenceLabel]] = {}
    for i, j in find_candidates_across(*bands).tolist():
        (_, twin), (number, label) = first[i], second[j]
        alike = compute_similarity(ids[twin.prompt], ids[label.prompt])
        if alike >= corpus.options.similar and alike > closest.get(number, (0.0, twin))[0]:
            closest[number] = alike, twin
    return [
        _cite_twins(corpus, label, closest[corpus.same[label.prompt]][1], closest[corpus.same[label.prompt]][0])
        for label in corpus.labels
        if corpus.same[label.prompt] in closest
    ]


def _cite_twins(
    corpus: PreferenceCorpus, label: PreferenceLabel, twin: PreferenceLabel, alike: float | None = None
) -> Evidence:
    note = "" if alike is None else f"{alike:.2f} alike: "
    return Evidence((label.where, twin.where), f"{note}{quote(corpus.texts[label.prompt])}")


def _lacks_heldout(corpus: PreferenceCorpus) -> str | None:
    return None if corpus.heldout else "no held-out file (--against)"


_KEEP_ONE = "keep one of each: training counts them twice, and a split may put one on either side"
exact = Check("duplicates", _find_exact, remedy=_KEEP_ONE)
but_for_punctuation = Check("duplicates but for punctuation", _find_normal, remedy=_KEEP_ONE)
near_duplicates = Check(
    "near-duplicates", _find_near, remedy="see whether they ask the same; if so, keep them on one side of a split"
)
leakage = Check("leakage", _find_leakage, missing=_lacks_heldout)
