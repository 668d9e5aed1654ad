"""Rows of preferences as labels: every text is a number, a row that is none of these says why not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textrl_env.data import Fault, parse, prompt_fault, text_fault
from textrl_env.data.text import Message
from textrl_env.errors import InputError
from textrl_env.reward_models.preferences import preferences_of


@dataclass(frozen=True, slots=True)
class Label:
    """A usable row; texts are numbers into the case's list of distinct texts.

    Attributes:
        where: `file:line`.
        prompt, ranking: the prompt and K >= 2 different completions, best first.
        probabilities: how likely people prefer the earlier, of each of the K (K - 1) / 2 pairs.
        annotator: who gave it, where the file says so.
        shown: the place of each completion of the ranking on the screen, where the file says so.
        attribute: the value of the column to slice by; None without one.
    """

    where: str
    prompt: int
    ranking: tuple[int, ...]
    probabilities: tuple[float, ...]
    annotator: str | None
    shown: tuple[int, ...] | None
    attribute: Any


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that no reward model can learn from; `identical` if the reason is that its completions are one text."""

    where: str
    fault: str
    identical: bool = False


@dataclass(frozen=True)
class Labels:
    """A file: its usable rows, its bad ones, and the prompts that are conversations, by number."""

    source: str
    labels: tuple[Label, ...]
    bad: tuple[BadRow, ...]
    conversations: Mapping[int, Sequence[Message]]


def read_labels(path: str | Path, numbers: dict[str, int], *, by: str | None = None) -> Labels:
    """From JSONL, JSON, CSV or Parquet with `prompt`, `chosen` and `rejected`, or `ranking`; see `preferences_of`.

    Prompts and completions are texts or lists of messages; without a `prompt`, messages with which both completions
    begin are the prompt, as TRL has it. Further columns: `annotator`, and `shown`, the places of chosen and rejected
    (or of the ranking) on the screen, 0 first.

    Args:
        path: the file.
        numbers: of the texts seen so far; new ones are added.
        by: a column whose values are kept as `attribute`.

    Raises:
        InputError: no such file, one that cannot be read as a whole, one without rows, or without the column `by`.
    """
    labels: list[Label] = []
    bad: list[BadRow] = []
    conversations: dict[int, Sequence[Message]] = {}
    has_attribute = False
    for where, row in parse(path, "chosen"):
        found = _label(where, row, numbers, conversations, by)
        has_attribute = has_attribute or (isinstance(row, Mapping) and by in row)
        if isinstance(found, BadRow):
            bad.append(found)
        else:
            labels.append(found)
    if not labels and not bad:
        raise InputError(f"{path}: no row; expected rows with prompt, chosen and rejected, or prompt and ranking")
    if by is not None and not has_attribute:
        raise InputError(f"{path}: no row has a column {by!r} to slice by")
    return Labels(str(path), tuple(labels), tuple(bad), conversations)


def _label(
    where: str, row: Any, numbers: dict[str, int], conversations: dict[int, Sequence[Message]], by: str | None
) -> Label | BadRow:
    if isinstance(row, Fault) or not isinstance(row, Mapping):
        return BadRow(where, row if isinstance(row, Fault) else f"expected an object, got {type(row).__name__}")
    name = "ranking" if row.get("ranking") is not None else "chosen"
    given = row.get("ranking") if name == "ranking" else [row.get("chosen"), row.get("rejected")]
    if not isinstance(given, list | tuple):
        return BadRow(where, f"'ranking' must be a list of texts, best first; got {given!r:.100}")
    for value, column in zip(given, ["chosen", "rejected"] if name == "chosen" else [name] * len(given), strict=True):
        if value is None and column not in row:
            return BadRow(where, f"no column {column!r} (found: {', '.join(map(repr, row)) or 'none'})")
        if fault := _fault(value):
            return BadRow(where, f"column {column!r} {fault}")
    prompt, given = _split(row.get("prompt"), list(given))
    if fault := _fault(prompt):
        return BadRow(where, f"column 'prompt' {fault}")
    texts = [_spoken(value) for value in given]
    if len(set(texts)) < len(texts):
        same = "'chosen' and 'rejected' are" if name == "chosen" else "two completions of 'ranking' are"
        return BadRow(where, f"{same} the same text: {texts[0]!r:.80}", identical=True)
    asked = _spoken(prompt)
    plain = {**row, "prompt": asked, "ranking": texts, "where": where}
    try:
        (preference,) = preferences_of([plain])
    except InputError as error:
        return BadRow(where, str(error).removeprefix(f"{where}: "))
    number = numbers.setdefault(asked, len(numbers))
    if not isinstance(prompt, str):
        conversations[number] = prompt
    annotator, shown = row.get("annotator"), row.get("shown")
    return Label(
        where, number, tuple(numbers.setdefault(text, len(numbers)) for text in texts), preference.pair_probabilities,
        None if annotator is None else str(annotator),
        tuple(shown) if isinstance(shown, list) and sorted(map(repr, shown)) == _places(len(texts)) else None,
        row.get(by) if by is not None else None,
    )  # fmt: skip


def _fault(value: Any) -> str | None:
    """Texts may be empty, conversations may not."""
    return prompt_fault(value) if isinstance(value, list | tuple) else text_fault(value)


def _places(k: int) -> list[str]:
    return sorted(map(repr, range(k)))


def _split(prompt: Any, completions: list[Any]) -> tuple[Any, list[Any]]:
    """Prompt and completions; whole conversations without a prompt share their first messages, which then are it."""
    if prompt is not None:
        return prompt, completions
    if not completions or any(isinstance(value, str) for value in completions):
        return "", completions
    n_shared, shortest = 0, min(map(len, completions))
    while n_shared < shortest - 1 and all(value[n_shared] == completions[0][n_shared] for value in completions):
        n_shared += 1
    return completions[0][:n_shared] or "", [value[n_shared:] for value in completions]


def _spoken(value: str | Sequence[Message]) -> str:
    """The text of a prompt or completion: of one message its content, of several who says what."""
    if isinstance(value, str):
        return value
    if len(value) == 1:
        return str(value[0]["content"])
    return "\n".join(f"{message['role']}: {message['content']}" for message in value)
