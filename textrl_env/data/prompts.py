"""The prompts an environment draws from, each with its further columns."""

import heapq
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from textrl_env.data.columns import find_prompt_fault
from textrl_env.data.containers import iterate_rows
from textrl_env.data.rows import OnBadRow, check_rows, parse_rows
from textrl_env.data.split import first_rows, split_by_prompt
from textrl_env.data.text import Prompt, Tokenizer, encode_prompts, render
from textrl_env.data.text.display import message_text
from textrl_env.errors import InputError

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Duplicates:
    """Rows whose prompt came before.

    Attributes:
        count: how many there are, over all prompts.
        examples: of the first five, their place and that of the prompt's first row.
    """

    count: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class PromptDataset:
    """Prompts in order, and the other columns of their rows, which reward functions receive by name.

    Attributes:
        prompts: all texts, or all conversations (lists of messages `{"role": …, "content": …}`); none empty.
        columns: every other column by name, a value per row, None where a row lacks it.
        where: per row, its place for error messages (`prompts.jsonl:17` or `prompt 16`).
    """

    prompts: tuple[Any, ...]
    columns: Mapping[str, list[Any]]
    where: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def conversational(self) -> bool:
        """True where the prompts are conversations; reward functions then receive messages, see `RewardFunction`."""
        return not isinstance(self.prompts[0], str)

    @classmethod
    def of(cls, prompts: "PromptRows", *, prompt_column: str = "prompt") -> "PromptDataset":
        """Returns a dataset from whatever a user has: one, a file's path, or prompts or rows as `from_rows` takes them.

        A single string is a path; to have one prompt, pass a list with one text.
        """
        if isinstance(prompts, PromptDataset):
            return prompts
        if isinstance(prompts, str | os.PathLike):
            return cls.from_file(os.fspath(prompts), prompt_column=prompt_column)
        return cls.from_rows(prompts, prompt_column=prompt_column)

    @classmethod
    def from_rows(
        cls,
        rows: Iterable[Prompt | Mapping[str, Any]],
        *,
        prompt_column: str = "prompt",
        on_bad_row: OnBadRow = "error",
    ) -> "PromptDataset":
        """Makes a dataset of texts, conversations or mappings, in any container that `iterate_rows` reads.

        Args:
            rows: the prompts; a mapping has its prompt in `prompt_column`. They are copied.
            prompt_column: the name of the prompts' column.
            on_bad_row: as for `textrl_env.data.read_rows`.

        Raises:
            InputError: no usable row, or (with `"error"`) a bad row, named by its index, from 0.
        """
        places = (
            (f"prompt {index}", row if isinstance(row, Mapping) else {prompt_column: row})
            for index, row in enumerate(iterate_rows(rows, name="prompts"))
        )
        return cls._collect(places, prompt_column, on_bad_row=on_bad_row, source="prompts")

    @classmethod
    def from_file(
        cls, path: str | Path, *, prompt_column: str = "prompt", on_bad_row: OnBadRow = "error"
    ) -> "PromptDataset":
        """Reads a file as `textrl_env.data.read_rows` does, with its errors; an empty cell of a CSV file is None."""
        rows = parse_rows(path, prompt_column)
        if Path(path).suffix.lower() in (".csv", ".tsv"):
            rows = ((where, _blanks_to_none(row, but=prompt_column)) for where, row in rows)
        return cls._collect(rows, prompt_column, on_bad_row=on_bad_row, source=str(path))

    @classmethod
    def _collect(
        cls, rows: Iterable[tuple[str, Any]], prompt_column: str, *, on_bad_row: OnBadRow, source: str
    ) -> "PromptDataset":
        """A dataset of the places and rows that are fine."""
        prompts: list[Any] = []
        where: list[str] = []
        columns: dict[str, list[Any]] = {}

        kinds: list[str] = []

        def fault_in(row: Mapping[str, Any]) -> str | None:
            if fault := find_prompt_fault(row[prompt_column]):
                return f"column {prompt_column!r} {fault}"
            kinds.append("text" if isinstance(row[prompt_column], str) else "conversation")
            if kinds[-1] != kinds[0]:
                return (
                    f"the prompt is a {kinds[-1]}, those before are {kinds[0]}s; make all of them texts, or all of "
                    "them conversations"
                )
            return None

        for row in check_rows(rows, columns=[prompt_column], fault_of=fault_in, on_bad_row=on_bad_row, source=source):
            prompt = row.values[prompt_column]
            for name, value in row.values.items():
                if name != prompt_column:
                    if name not in columns:
                        columns[name] = [None] * len(prompts)
                    columns[name].append(value)
            prompts.append(prompt)
            where.append(row.where)
            for values in columns.values():
                if len(values) < len(prompts):
                    values.append(None)
        return cls(tuple(prompts), columns, tuple(where))

    def columns_of(self, indices: Sequence[int]) -> dict[str, list[Any]]:
        """Returns the further columns of some rows, one list a column; None where a row lacks it and for -1, no row."""
        return {
            name: [values[index] if index >= 0 else None for index in indices] for name, values in self.columns.items()
        }

    def without_columns(self) -> "PromptDataset":
        """Returns a dataset of the prompts alone, where no reward function reads columns, whatever their names."""
        return replace(self, columns={})

    def select(self, indices: Sequence[int]) -> "PromptDataset":
        """Returns a dataset of the rows at `indices`, in that order."""
        return PromptDataset(
            tuple(self.prompts[index] for index in indices),
            self.columns_of(indices),
            tuple(self.where[index] for index in indices),
        )

    def split(self, heldout_fraction: float, *, seed: int) -> "tuple[PromptDataset, PromptDataset]":
        """Returns the rows to train on and those held out, each in the order they have here.

        Distinct prompts are dealt out, so that all rows of one prompt are on the same side.

        Args:
            heldout_fraction: of the distinct prompts, in (0, 1); each side gets at least one.
            seed: of the choice.

        Raises:
            InputError: another fraction, or fewer than two distinct prompts.
        """
        train, heldout = split_by_prompt(self.prompts, heldout_fraction, seed=seed)
        return self.select(train), self.select(heldout)

    def duplicates(self) -> Duplicates:
        """Finds the rows whose prompt came before, exactly alike; a uniform order draws such prompts more often."""
        first = first_rows(self.prompts)
        again = np.flatnonzero(first != np.arange(len(self)))
        return Duplicates(len(again), tuple((self.where[row], self.where[first[row]]) for row in again[:5]))

    def text(self, index: int, tokenizer: Tokenizer) -> str:
        """Returns a row's prompt as text, a conversation rendered; InputError names a row that cannot be."""
        prompt = self.prompts[index]
        if isinstance(prompt, str):
            return prompt
        try:
            return render(tokenizer, prompt)
        except InputError as error:
            raise InputError(f"{self.where[index]}: {error}") from error

    def longest(self, k: int) -> list[int]:
        """Returns the k rows whose prompts have the most bytes of text (all rows, if there are fewer), in order."""
        texts = (" ".join(map(message_text, p)) if self.conversational else p for p in self.prompts)
        sizes = [len(text.encode()) for text in texts]
        return sorted(heapq.nlargest(k, range(len(self)), key=sizes.__getitem__))

    def encode(
        self, tokenizer: Tokenizer, *, max_prompt_tokens: int | None = None, rows: Iterable[int] | None = None
    ) -> Iterator[Ints]:
        """Yields the token ids of the prompts of `rows` (of all, by default), (n,) each.

        Args:
            tokenizer: encodes them.
            max_prompt_tokens: most tokens of a prompt; None for any number.
            rows: the rows, in the order of the ids.

        Raises:
            InputError: as the iterator comes to a prompt with no or too many tokens, or one that the tokenizer has
                no chat template for; its row is named.
        """
        indices = list(range(len(self)) if rows is None else rows)
        for start in range(0, len(indices), 4096):
            batch = indices[start : start + 4096]
            for index, ids in zip(batch, self._encode_batch(tokenizer, batch), strict=True):
                if not ids:
                    raise InputError(f"{self.where[index]}: the tokenizer makes no token of this prompt; remove it")
                if max_prompt_tokens is not None and len(ids) > max_prompt_tokens:
                    raise InputError(
                        f"{self.where[index]}: the prompt has {len(ids)} tokens, at most {max_prompt_tokens} fit "
                        "(max_prompt_tokens); shorten or remove it, or make room"
                    )
                yield np.array(ids, dtype=np.int64)

    def _encode_batch(self, tokenizer: Tokenizer, rows: Sequence[int]) -> list[list[int]]:
        """The ids of the prompts of some rows; the InputError of one names its row."""
        try:
            return encode_prompts(tokenizer, [self.prompts[index] for index in rows])
        except InputError:
            for index in rows:
                self.text(index, tokenizer)
            raise


PromptRows = PromptDataset | str | Path | Iterable[Prompt | Mapping[str, Any]]


def _blanks_to_none(row: Any, *, but: str) -> Any:
    """Returns a CSV row whose empty cells are what they are in other formats: null."""
    if not isinstance(row, Mapping):
        return row
    return {name: None if value == "" and name != but else value for name, value in row.items()}
