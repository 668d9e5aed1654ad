"""Items from completions: sampled ones, or those of a file."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from textrl_env.data import OnBadRow, checked_rows, parse, prompt_fault, text_fault
from textrl_env.data.text import completion_text
from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.desk.judgements import MAX_RANKED, Item, Task


def items_of(task: Task, prompt: Any, completions: Sequence[str]) -> list[Item]:
    """The questions that a prompt's completions make; of equal texts one counts.

    `pair`: every pair. `ranking`: all of them at once, at most nine. `rating`: one question each. None where a
    comparison has fewer than two different texts.
    """
    texts = tuple(dict.fromkeys(completions))
    match task:
        case "pair":
            return [Item(task, prompt, pair) for pair in combinations(texts, 2)]
        case "ranking":
            return [Item(task, prompt, texts[:MAX_RANKED])] if len(texts) > 1 else []
        case "rating":
            return [Item(task, prompt, (text,)) for text in texts]


def read_items(path: str | Path, task: Task, *, on_bad_row: OnBadRow = "error") -> list[Item]:
    """Items from a file of completions.

    A row has `prompt` and one of: `completions`, a list of texts; `chosen` and `rejected`; `completion`, where the rows
    of one prompt belong together. A prompt or completion may be a list of messages, of which a completion is the last.

    Raises InputError: see `textrl_env.data.rows.checked_rows`; or no row makes a question.
    """
    grouped: dict[str, tuple[Any, list[str]]] = {}
    rows = checked_rows(
        parse(path, "prompt"), columns=["prompt"], fault_of=_fault, on_bad_row=on_bad_row, source=str(path)
    )
    for row in rows:
        prompt = row.values["prompt"]
        grouped.setdefault(repr(prompt), (prompt, []))[1].extend(map(completion_text, _completions(row.values)))
    items = [item for prompt, texts in grouped.values() for item in items_of(task, prompt, texts)]
    if not items:
        raise InputError(
            f"{path}: no prompt has two different completions; for task {task!r} there must be one that has"
        )
    return items


def _completions(row: Mapping[str, Any]) -> Iterable[Any]:
    if "completions" in row:
        return row["completions"]  # type: ignore[no-any-return]
    return [row[name] for name in ("chosen", "rejected", "completion") if name in row]


def _fault(row: Mapping[str, Any]) -> str | None:
    if row["prompt"] != "" and (fault := prompt_fault(row["prompt"])):
        return f"column 'prompt' {fault}"
    if "completions" in row and not isinstance(row["completions"], list):
        return f"column 'completions' must be a list of texts, got {type(row['completions']).__name__}"
    found = list(_completions(row))
    if not found:
        return f"no column 'completions', 'completion' or 'chosen' (found: {', '.join(map(repr, row))})"
    for number, each in enumerate(found, start=1):
        fault = prompt_fault(each) if isinstance(each, list) else text_fault(each)
        if fault:
            return f"completion {number} {fault}"
    return None
