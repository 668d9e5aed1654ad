"""Rows that cannot be learned from: unreadable ones, those without a choice, and empty texts."""

from textrl_env.reward_models.lint.case import Case, Check, nothing
from textrl_env.reward_models.lint.finding import Example, Finding


def _bad_rows(case: Case) -> list[Finding]:
    remedy = "mend or remove them; textrl reward-model leaves them out with --on-bad-row skip"
    return _unusable(case, "bad rows", "cannot be used", remedy, identical=False)


def _identical(case: Case) -> list[Finding]:
    return _unusable(case, "identical texts", "have one text twice, so no choice", "remove them", identical=True)


def _unusable(case: Case, check: str, message: str, remedy: str, *, identical: bool) -> list[Finding]:
    found = [Example((row.where,), row.fault) for row in case.data.bad if row.identical is identical]
    if not found:
        return []
    n_rows = len(case.labels) + len(case.data.bad)
    return [Finding(check, "error", message, len(found), n_rows, "rows", remedy, examples=case.examples(found))]


def _empty(case: Case) -> list[Finding]:
    empty = {number for number, text in enumerate(case.texts) if not text.strip()}
    completions = [row for row, label in enumerate(case.labels) if empty.intersection(label.ranking)]
    prompts = [row for row, label in enumerate(case.labels) if label.prompt in empty]
    if len(prompts) == len(case.labels):
        prompts = []  # Whole texts are compared.
    return [
        Finding("empty texts", "warning", message, len(rows), len(case.labels), "rows", remedy,
                examples=tuple(case.example([row], *case.labels[row].ranking) for row in rows[: case.options.examples]))
        for rows, message, remedy in (
            (completions, "have an empty completion", "remove them, unless saying nothing is an answer"),
            (prompts, "have no prompt, where others have one", "give them their prompt, or remove them"),
        )
        if rows
    ]  # fmt: skip


bad_rows = Check("bad rows", nothing, _bad_rows)
identical = Check("identical texts", nothing, _identical)
empty_texts = Check("empty texts", nothing, _empty)
