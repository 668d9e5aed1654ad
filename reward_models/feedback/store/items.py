"""Items, the questions that annotators are asked, and making them from completions."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, get_args

from textrl_env.data import OnBadRow, find_prompt_fault, find_text_fault
from textrl_env.data.rows import check_rows, parse_rows
from textrl_env.data.text import completion_text
from textrl_env.errors import InputError

LabelTask = Literal["pair", "ranking", "rating"]
TASKS: tuple[LabelTask, ...] = get_args(LabelTask)
MAX_RANKED = 9
"""As many completions as there are digit keys."""
_SIZES = {"pair": (2, 2), "ranking": (2, MAX_RANKED), "rating": (1, 1)}


@dataclass(frozen=True)
class Item:
    """A question: compare, rank or rate completions of a prompt.

    Attributes:
        task: `pair` compares two completions, `ranking` orders 2 to 9, `rating` gives one 1 to 7 points.
        prompt: a text (may be empty) or a conversation.
        completions: distinct texts; an empty one is fine.
    """

    task: LabelTask
    prompt: str | list[dict[str, Any]]
    completions: tuple[str, ...]

    @classmethod
    def from_values(cls, task: Any, prompt: Any, completions: Any) -> "Item":
        """Makes an item from values of unknown origin; InputError says which of them is wrong."""
        if fault := item_fault(task, prompt, completions):
            raise InputError(fault)
        return cls(task, prompt, tuple(completions))

    @property
    def id(self) -> str:
        """32 hex digits that follow from the content: the same question is the same item in every database."""
        content = json.dumps([self.task, self.prompt, self.completions], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:32]


def item_fault(task: Any, prompt: Any, completions: Any) -> str | None:
    """Says why the three cannot be an `Item`; None where they can."""
    if task not in TASKS:
        return f"'task' must be one of {', '.join(TASKS)}, got {task!r:.40}"
    if prompt != "" and (fault := find_prompt_fault(prompt)):
        return f"'prompt' {fault}"
    low, high = _SIZES[task]
    if not isinstance(completions, Sequence) or isinstance(completions, str) or not low <= len(completions) <= high:
        size = str(low) if low == high else f"{low} to {high}"
        actual = len(completions) if isinstance(completions, list | tuple) else type(completions).__name__
        return f"'completions' must be a list of {size} for task {task!r}, got {actual}"
    for number, text in enumerate(completions, start=1):
        if fault := find_text_fault(text):
            return f"completion {number} {fault}"
    return "two 'completions' are the same text" if len(set(completions)) < len(completions) else None


def make_items(task: LabelTask, prompt: Any, completions: Sequence[str]) -> list[Item]:
    """Makes the questions to ask about a prompt's completions; of equal texts one counts.

    `pair`: every pair. `ranking`: all of them at once, at most nine. `rating`: one question each. A comparison of fewer
    than two different texts is no question.
    """
    texts = tuple(dict.fromkeys(completions))
    match task:
        case "pair":
            return [Item(task, prompt, pair) for pair in combinations(texts, 2)]
        case "ranking":
            return [Item(task, prompt, texts[:MAX_RANKED])] if len(texts) > 1 else []
        case "rating":
            return [Item(task, prompt, (text,)) for text in texts]


def read_items(path: str | Path, task: LabelTask, *, on_bad_row: OnBadRow = "error") -> list[Item]:
    """Reads items from a file of completions.

    A row has `prompt` and one of: `completions`, a list of texts; `chosen` and `rejected`; `completion`, where the rows
    of one prompt belong together. A prompt or completion may be a list of messages, of which a completion is the last.

    Raises:
        InputError: a bad row, named as `textrl_env.data.rows.check_rows` does; or no row makes a question.
    """
    groups: dict[str, tuple[Any, list[str]]] = {}
    rows = check_rows(
        parse_rows(path, "prompt"), columns=["prompt"], fault_of=_row_fault, on_bad_row=on_bad_row, source=str(path)
    )
    for row in rows:
        prompt = row.values["prompt"]
        groups.setdefault(repr(prompt), (prompt, []))[1].extend(map(completion_text, _completions(row.values)))
    items = [item for prompt, texts in groups.values() for item in make_items(task, prompt, texts)]
    if not items:
        raise InputError(
            f"{path}: no prompt has two different completions; for task {task!r} there must be one that has"
        )
    return items


def _completions(row: Mapping[str, Any]) -> Iterable[Any]:
    if "completions" in row:
        return row["completions"]  # type: ignore[no-any-return]
    return [row[name] for name in ("chosen", "rejected", "completion") if name in row]


def _row_fault(row: Mapping[str, Any]) -> str | None:
    if row["prompt"] != "" and (fault := find_prompt_fault(row["prompt"])):
        return f"column 'prompt' {fault}"
    if "completions" in row and not isinstance(row["completions"], list):
        return f"column 'completions' must be a list of texts, got {type(row['completions']).__name__}"
    completions = list(_completions(row))
    if not completions:
        return f"no column 'completions', 'completion' or 'chosen' (found: {', '.join(map(repr, row))})"
    for number, completion in enumerate(completions, start=1):
        fault = find_prompt_fault(completion) if isinstance(completion, list) else find_text_fault(completion)
        if fault:
            return f"completion {number} {fault}"
    return None
