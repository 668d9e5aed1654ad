"""Rows that are longer than a model's context, and completions that differ only beyond it."""

from collections.abc import Callable

import numpy as np

from textrl_env.reward_models.lint.case import Case, Check
from textrl_env.reward_models.lint.finding import Finding
from textrl_env.reward_models.lint.tokens import Tokens


def _no_tokens(case: Case) -> str | None:
    return None if case.limit else "no limit in tokens (--tokenizer, --max-tokens)"


def _no_limit(case: Case) -> str | None:
    return None if case.limit or case.options.max_chars else "no limit (--tokenizer, --max-tokens or --max-chars)"


def _tokens(case: Case) -> tuple[Tokens, int]:
    assert case.tokens is not None and case.limit is not None
    return case.tokens, case.limit.max_tokens


def _over_long(case: Case) -> list[Finding]:
    tokens, most = _tokens(case)
    asked, answered = tokens.prompts.lengths, tokens.completions.lengths
    lengths = [int(asked[each.prompt] + answered[list(each.ranking)].max()) + 1 for each in case.labels]
    long = [row for row, length in enumerate(lengths) if length > most]
    if not long:
        return []
    shown = [case.example([row], case.labels[row].prompt) for row in long[: case.options.examples]]
    return [
        Finding("over-long rows", "error", f"exceed {most} tokens (the longest has {max(lengths)})", len(long),
                len(case.labels), "rows", "shorten or remove them: textrl reward-model refuses them, TRL cuts them",
                examples=tuple(shown))
    ]  # fmt: skip


def _cut(case: Case) -> list[Finding]:
    """Pairs that are one text to a model that reads only the start, as TRL's `max_length` has it."""
    findings = []
    if case.limit:
        tokens, most = _tokens(case)

        def as_tokens(prompt: int, completion: int) -> bytes:
            read = np.append(tokens.completions[completion], -1)  # -1: the end token
            return read[: max(0, most - len(tokens.prompts[prompt]))].tobytes()

        findings += _identical(case, as_tokens, f"{most} tokens")
    if most_chars := case.options.max_chars:

        def as_text(prompt: int, completion: int) -> str:
            return case.texts[completion][: max(0, most_chars - len(case.texts[prompt]))]

        findings += _identical(case, as_text, f"{most_chars} characters")
    return findings


def _identical(case: Case, read: Callable[[int, int], str | bytes], limit: str) -> list[Finding]:
    pairs = case.pairs
    columns = zip(*(each.tolist() for each in (pairs.prompt, pairs.better, pairs.worse)), strict=True)
    found = [
        pair for pair, (prompt, better, worse) in enumerate(columns) if read(prompt, better) == read(prompt, worse)
    ]
    if not found:
        return []
    shown = [
        case.example([int(pairs.row[pair])], int(pairs.better[pair]), int(pairs.worse[pair]))
        for pair in found[: case.options.examples]
    ]
    return [
        Finding("identical after truncation", "warning", f"are one text in the first {limit}", len(found), len(pairs),
                "pairs", "read more of them, or remove them: their label is noise", examples=tuple(shown))
    ]  # fmt: skip


over_long = Check("over-long rows", _no_tokens, _over_long)
truncated = Check("identical after truncation", _no_limit, _cut)
