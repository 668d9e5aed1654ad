"""Labels of preferences: every text is a number, and a row that is no label says why not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textrl_env.data import Row
from textrl_env.data.columns import is_given, read_list
from textrl_env.data.rows import Fault, drop_unsubmitted, parse_rows
from textrl_env.errors import InputError
from textrl_env.reward_models.preferences import read_preference
from textrl_env.reward_models.rankings import IdenticalTextsError


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
    conversations: Mapping[int, Sequence[Mapping[str, Any]]]


def read_labels(path: str | Path, numbers: dict[str, int], *, by: str | None = None) -> LabelFile:
    """Reads JSONL, JSON, CSV or Parquet with `prompt`, `chosen` and `rejected`, or `ranking`; see `preferences_of`.

    Prompts and completions are texts or lists of messages, as in `read_preferences`. Further columns: `annotator`, and
    `shown`, the places of chosen and rejected (or of the ranking) on the screen, 0 first.

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
    for where, row in drop_unsubmitted(parse_rows(path, "chosen"), source=str(path)):
        has_attribute = has_attribute or (isinstance(row, Mapping) and by in row)
        try:
            labels.append(reader.read(where, row))
        except InputError as error:
            fault = str(error).removeprefix(f"{where}: ")
            bad.append(BadRow(where, fault, identical=isinstance(error, IdenticalTextsError)))
    if not labels and not bad:
        raise InputError(f"{path}: no row; expected rows with prompt, chosen and rejected, or prompt and ranking")
    if by is not None and not has_attribute:
        raise InputError(f"{path}: no row has a column {by!r} to slice by")
    return LabelFile(str(path), tuple(labels), tuple(bad), reader.conversations)


class _LabelReader:
    """Makes labels of rows; `numbers` and `conversations` grow with every usable one."""

    def __init__(self, numbers: dict[str, int], by: str | None) -> None:
        self.numbers, self.by = numbers, by
        self.conversations: dict[int, Sequence[Mapping[str, Any]]] = {}

    def read(self, where: str, row: Any) -> PreferenceLabel:
        """Returns the label of a row; InputError says what is wrong with it."""
        if isinstance(row, Fault) or not isinstance(row, Mapping):
            raise InputError(row if isinstance(row, Fault) else f"expected an object, got {type(row).__name__}")
        preference = read_preference(Row(where, row))
        texts = preference.ranking
        if len(set(texts)) < len(texts):
            raise IdenticalTextsError(f"two completions of 'ranking' are the same text: {texts[0]!r:.80}")
        number = self._number(str(preference.prompt))
        if not isinstance(preference.prompt, str):
            self.conversations[number] = preference.prompt
        annotator = row.get("annotator")
        return PreferenceLabel(
            where=where,
            prompt=number,
            ranking=tuple(self._number(text) for text in texts),
            probabilities=preference.pair_probabilities,
            annotator=str(annotator) if is_given(annotator) else None,
            places=_read_places(row, len(texts)),
            attribute=row.get(self.by) if self.by is not None else None,
        )

    def _number(self, text: str) -> int:
        return self.numbers.setdefault(text, len(self.numbers))


def _read_places(row: Mapping[str, Any], k: int) -> tuple[int, ...] | None:
    """Returns the K places on the screen; None where the value is no order of 0 to K - 1."""
    try:
        value = read_list(row, "shown")
    except InputError:
        return None
    is_order = value is not None and sorted(map(repr, value)) == sorted(map(repr, range(k)))
    return tuple(value) if value is not None and is_order else None
