"""Rows that cannot be learned from: unreadable ones, equal or empty texts, and rows that a model cannot hold."""

from collections.abc import Callable

import numpy as np

from textrl_env.checks import Check, Evidence, Finding, check
from textrl_env.reward_models.lint.corpus import PreferenceCorpus
from textrl_env.reward_models.lint.texts import TokenIds


@check("bad rows", remedy="mend or remove them; textrl reward-model leaves them out with --on-bad-row skip")
def bad_rows(corpus: PreferenceCorpus) -> Finding | None:
    """Finds rows without a label that a reward model could be trained on."""
    return _find_unusable(corpus, "cannot be used", identical=False)


@check("identical texts", remedy="remove them")
def identical_texts(corpus: PreferenceCorpus) -> Finding | None:
    """Finds rows whose completions are one text."""
    return _find_unusable(corpus, "have one text twice, so no choice", identical=True)


def _find_unusable(corpus: PreferenceCorpus, message: str, *, identical: bool) -> Finding | None:
    faults = [Evidence((row.where,), row.fault) for row in corpus.data.bad if row.identical is identical]
    if not faults:
        return None
    n_rows = len(corpus.labels) + len(corpus.data.bad)
    examples = tuple(faults[: corpus.options.examples])
    return Finding("error", message, count=len(faults), of=n_rows, unit="rows", examples=examples)


def _find_empty_texts(corpus: PreferenceCorpus) -> list[Finding]:
    empty = {number for number, text in enumerate(corpus.texts) if not text.strip()}
    completions = [row for row, label in enumerate(corpus.labels) if empty.intersection(label.ranking)]
    prompts = [row for row, label in enumerate(corpus.labels) if label.prompt in empty]
    if len(prompts) == len(corpus.labels):
        prompts = []  # Whole texts are compared.
    return [
        Finding(
            "warning",
            message,
            remedy=remedy,
            count=len(rows),
            of=len(corpus.labels),
            unit="rows",
            examples=corpus.cite_labels(rows),
        )
        for rows, message, remedy in (
            (completions, "have an empty completion", "remove them, unless saying nothing is an answer"),
            (prompts, "have no prompt, where others have one", "give them their prompt, or remove them"),
        )
        if rows
    ]


def _find_over_long(corpus: PreferenceCorpus) -> Finding | None:
    """Finds rows whose prompt, longest completion and end token exceed the budget."""
    tokens, most = _read_budget(corpus)
    prompts, completions = tokens.prompts.lengths, tokens.completions.lengths
    lengths = [int(prompts[label.prompt] + completions[list(label.ranking)].max()) + 1 for label in corpus.labels]
    rows = [row for row, length in enumerate(lengths) if length > most]
    if not rows:
        return None
    return Finding(
        "error",
        f"exceed {most} tokens (the longest has {max(lengths)})",
        count=len(rows),
        of=len(corpus.labels),
        unit="rows",
        examples=tuple(corpus.cite([row], corpus.labels[row].prompt) for row in rows[: corpus.options.examples]),
    )


def _find_identical_starts(corpus: PreferenceCorpus) -> list[Finding]:
    """Finds pairs that are one text to a model that reads only the start, as TRL's `max_length` has it."""
    findings = []
    if corpus.budget:
        tokens, most = _read_budget(corpus)

        def read_tokens(prompt: int, completion: int) -> bytes:
            ids = np.append(tokens.completions[completion], -1)  # -1: the end token
            return ids[: max(0, most - len(tokens.prompts[prompt]))].tobytes()

        findings.append(_compare_starts(corpus, read_tokens, f"{most} tokens"))
    if most_chars := corpus.options.max_chars:

        def read_text(prompt: int, completion: int) -> str:
            return corpus.texts[completion][: max(0, most_chars - len(corpus.texts[prompt]))]

        findings.append(_compare_starts(corpus, read_text, f"{most_chars} characters"))
    return [finding for finding in findings if finding]


def _compare_starts(corpus: PreferenceCorpus, read: Callable[[int, int], str | bytes], limit: str) -> Finding | None:
    pairs = corpus.pairs
    columns = zip(pairs.prompt.tolist(), pairs.better.tolist(), pairs.worse.tolist(), strict=True)
    equal = [i for i, (prompt, better, worse) in enumerate(columns) if read(prompt, better) == read(prompt, worse)]
    if not equal:
        return None
    return Finding(
        "warning",
        f"are one text in the first {limit}",
        count=len(equal),
        of=len(pairs),
        unit="pairs",
        examples=tuple(
            corpus.cite([int(pairs.row[i])], int(pairs.better[i]), int(pairs.worse[i]))
            for i in equal[: corpus.options.examples]
        ),
    )


def _read_budget(corpus: PreferenceCorpus) -> tuple[TokenIds, int]:
    assert corpus.tokens is not None and corpus.budget is not None
    return corpus.tokens, corpus.budget.max_tokens


def _lacks_budget(corpus: PreferenceCorpus) -> str | None:
    return None if corpus.budget else "no limit in tokens (--tokenizer, --max-tokens)"


def _lacks_limit(corpus: PreferenceCorpus) -> str | None:
    limit = corpus.budget or corpus.options.max_chars
    return None if limit else "no limit (--tokenizer, --max-tokens or --max-chars)"


empty_texts = Check("empty texts", _find_empty_texts)
over_long = Check(
    "over-long rows",
    _find_over_long,
    remedy="shorten or remove them: textrl reward-model refuses them, TRL cuts them",
    missing=_lacks_budget,
)
identical_starts = Check(
    "identical after truncation",
    _find_identical_starts,
    remedy="read more of them, or remove them: their label is noise",
    missing=_lacks_limit,
)
