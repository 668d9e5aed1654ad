"""Labels of preferences: every text is a number, and a row that is no label says why not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textrl_env.data import find_prompt_fault, find_text_fault, parse_rows
from textrl_env.data.rows import Fault
from textrl_env.data.text import Message
from textrl_env.errors import InputError
from textrl_env.reward_models.preferences import preferences_of


@dataclass(frozen=True, slots=True)
class PreferenceLabel:
    """A usable row; texts are numbers into the corpus's list of distinct texts.

    Attributes:
        where: `file:line`.
        prompt, ranking: the prompt and K >= 2 different completions, best first.
        probabilities: how likely people prefer the earlier, of each of the K (K - 1) / 2 pairs.
        annotator: who gave it, where the file says so.
        places: the place of each completion of the ranking on the screen, where the file says so.
        attribute: the value of the column to slice by; None without one.
    """

    where: str
    prompt: int
    ranking: tuple[int, ...]
    probabilities: tuple[float, ...]
    annotator: str | None
    places: tuple[int, ...] | None
    attribute: Any


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that no reward model can learn from; `identical` if the reason is that its completions are one text."""

    where: str
    fault: str
    identical: bool = False


@dataclass(frozen=True)
class LabelFile:
    """A file: its usable rows, its bad ones, and the prompts that are conversations, by number."""

    source: str
    labels: tuple[PreferenceLabel, ...]
    bad: tuple[BadRow, ...]
    conversations: Mapping[int, Sequence[Message]]


def read_labels(path: str | Path, numbers: dict[str, int], *, by: str | None = None) -> LabelFile:
    """Reads JSONL, JSON, CSV or Parquet with `prompt`, `chosen` and `rejected`, or `ranking`; see `preferences_of`.

    Prompts and completions are texts or lists of messages; without a `prompt`, messages with which both completions
    begin are the prompt, as TRL has it. Further columns: `annotator`, and `shown`, the places of chosen and rejected
    (or of the ranking) on the screen, 0 first.

    Args:
        path: the file.
        numbers: the number of each text so far; new texts are added.
        by: a column whose values become the labels' `attribute`.

    Raises:
        InputError: no such file, one that cannot be read as a whole, one without rows, or without the column `by`.
    """
    reader = _LabelReader(numbers, by)
    labels: list[PreferenceLabel] = []
    bad: list[BadRow] = []
    has_attribute = False
    for where, row in parse_rows(path, "chosen"):
        has_attribute = has_attribute or (isinstance(row, Mapping) and by in row)
        try:
            labels.append(reader.read(where, row))
        except InputError as error:
            fault = str(error).removeprefix(f"{where}: ")
            bad.append(BadRow(where, fault, identical=isinstance(error, _IdenticalTextsError)))
    if not labels and not bad:
        raise InputError(f"{path}: no row; expected rows with prompt, chosen and rejected, or prompt and ranking")
    if by is not None and not has_attribute:
        raise InputError(f"{path}: no row has a column {by!r} to slice by")
    return LabelFile(str(path), tuple(labels), tuple(bad), reader.conversations)


class _IdenticalTextsError(InputError):
    """A row offers no choice."""


class _LabelReader:
    """Makes labels of rows; `numbers` and `conversations` grow with every usable one."""

    def __init__(self, numbers: dict[str, int], by: str | None) -> None:
        self.numbers, self.by = numbers, by
        self.conversations: dict[int, Sequence[Message]] = {}

    def read(self, where: str, row: Any) -> PreferenceLabel:
        """Returns the label of a row; InputError says what is wrong with it."""
        if isinstance(row, Fault) or not isinstance(row, Mapping):
            raise InputError(row if isinstance(row, Fault) else f"expected an object, got {type(row).__name__}")
        prompt, completions = _split_prompt(row.get("prompt"), _read_completions(row))
        if fault := _value_fault(prompt):
            raise InputError(f"column 'prompt' {fault}")
        texts = [_plain_text(value) for value in completions]
        if len(set(texts)) < len(texts):
            pair = "two completions of 'ranking' are" if _has_ranking(row) else "'chosen' and 'rejected' are"
            raise _IdenticalTextsError(f"{pair} the same text: {texts[0]!r:.80}")
        question = _plain_text(prompt)
        (preference,) = preferences_of([{**row, "prompt": question, "ranking": texts, "where": where}])
        number = self._number(question)
        if not isinstance(prompt, str):
            self.conversations[number] = prompt
        annotator = row.get("annotator")
        return PreferenceLabel(
            where=where,
            prompt=number,
            ranking=tuple(self._number(text) for text in texts),
            probabilities=preference.pair_probabilities,
            annotator=None if annotator is None else str(annotator),
            places=_read_places(row.get("shown"), len(texts)),
            attribute=row.get(self.by) if self.by is not None else None,
        )

    def _number(self, text: str) -> int:
        return self.numbers.setdefault(text, len(self.numbers))


def _has_ranking(row: Mapping[str, Any]) -> bool:
    return row.get("ranking") is not None


def _read_completions(row: Mapping[str, Any]) -> list[Any]:
    """Returns texts or conversations, best first; InputError where one is missing or is neither."""
    ranking = row.get("ranking")
    if _has_ranking(row) and not isinstance(ranking, list | tuple):
        raise InputError(f"'ranking' must be a list of texts, best first; got {ranking!r:.100}")
    columns = ["ranking"] * len(ranking) if ranking is not None else ["chosen", "rejected"]
    completions = list(ranking) if ranking is not None else [row.get(column) for column in columns]
    for value, column in zip(completions, columns, strict=True):
        if value is None and column not in row:
            raise InputError(f"no column {column!r} (found: {', '.join(map(repr, row)) or 'none'})")
        if fault := _value_fault(value):
            raise InputError(f"column {column!r} {fault}")
    return completions


def _value_fault(value: Any) -> str | None:
    """Returns what is wrong with a text, which may be empty, or with a conversation, which may not."""
    return find_prompt_fault(value) if isinstance(value, list | tuple) else find_text_fault(value)


def _read_places(value: Any, k: int) -> tuple[int, ...] | None:
    """Returns the K places on the screen; None where the value is no order of 0 to K - 1."""
    is_order = isinstance(value, list) and sorted(map(repr, value)) == sorted(map(repr, range(k)))
    return tuple(value) if is_order else None


def _split_prompt(prompt: Any, completions: list[Any]) -> tuple[Any, list[Any]]:
    """Returns prompt and completions; whole conversations without a prompt share their first messages as one."""
    if prompt is not None:
        return prompt, completions
    if not completions or any(isinstance(value, str) for value in completions):
        return "", completions
    n_common, shortest = 0, min(map(len, completions))
    while n_common < shortest - 1 and all(value[n_common] == completions[0][n_common] for value in completions):
        n_common += 1
    return completions[0][:n_common] or "", [value[n_common:] for value in completions]


def _plain_text(value: str | Sequence[Message]) -> str:
    """Returns the text of a prompt or completion: of one message its content, of several who says what."""
    if isinstance(value, str):
        return value
    if len(value) == 1:
        return str(value[0]["content"])
    return "\n".join(f"{message['role']}: {message['content']}" for message in value)
