"""The prompts an environment draws from, each with its further columns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from textrl_env.errors import InputError
from textrl_env.rows import OnBadRow, read_rows
from textrl_env.tokenization import Tokenizer, encode_prompt


@dataclass(frozen=True)
class PromptDataset:
    """Prompts in order, and the other columns of their rows, which reward functions receive by name.

    Attributes:
        prompts: the texts, none empty.
        columns: per row, every other column (`{}` where there is none).
        where: per row, its place for error messages (`prompts.jsonl:17` or `prompt 16`).
    """

    prompts: tuple[str, ...]
    columns: tuple[dict[str, Any], ...]
    where: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.prompts)

    @classmethod
    def of(cls, prompts: "PromptSource", *, prompt_column: str = "prompt") -> "PromptDataset":
        """From whatever a user has: a dataset, a file's path, a list of texts, or a list of rows with a prompt column.

        A single string is a path; to have one prompt, pass a list with one text.
        """
        if isinstance(prompts, PromptDataset):
            return prompts
        if isinstance(prompts, str | Path):
            return cls.from_file(prompts, prompt_column=prompt_column)
        return cls.from_rows(prompts, prompt_column=prompt_column)

    @classmethod
    def from_rows(cls, rows: Iterable[str | Mapping[str, Any]], *, prompt_column: str = "prompt") -> "PromptDataset":
        """From texts or mappings; raises InputError naming the first bad row by its index."""
        prompts, columns = [], []
        for index, row in enumerate(rows):
            values = {prompt_column: row} if isinstance(row, str) else dict(row) if isinstance(row, Mapping) else None
            if values is None or prompt_column not in values:
                found = type(row).__name__ if values is None else f"columns {', '.join(map(repr, values)) or 'none'}"
                raise InputError(f"prompt {index}: expected a text or a row with column {prompt_column!r}, got {found}")
            prompt = values.pop(prompt_column)
            if not isinstance(prompt, str) or not prompt.strip():
                raise InputError(f"prompt {index}: expected a non-empty text, got {prompt!r}")
            prompts.append(prompt)
            columns.append(values)
        if not prompts:
            raise InputError("no prompts: expected at least one")
        return cls(tuple(prompts), tuple(columns), tuple(f"prompt {index}" for index in range(len(prompts))))

    @classmethod
    def from_file(
        cls, path: str | Path, *, prompt_column: str = "prompt", on_bad_row: OnBadRow = "error"
    ) -> "PromptDataset":
        """From a `.jsonl`, `.json`, `.csv` or `.txt` file; see `textrl_env.rows.read_rows` for the errors raised."""
        rows = read_rows(path, text_columns=[prompt_column], on_bad_row=on_bad_row)
        others = tuple({key: value for key, value in row.values.items() if key != prompt_column} for row in rows)
        return cls(tuple(row.values[prompt_column] for row in rows), others, tuple(row.where for row in rows))

    def encode(
        self, tokenizer: Tokenizer, *, max_prompt_tokens: int | None = None
    ) -> tuple[npt.NDArray[np.int64], ...]:
        """Token ids of every prompt; raises InputError naming the row of a prompt with no or too many tokens."""
        encoded = tuple(np.array(encode_prompt(tokenizer, prompt), dtype=np.int64) for prompt in self.prompts)
        for ids, where in zip(encoded, self.where, strict=True):
            if len(ids) == 0:
                raise InputError(f"{where}: the tokenizer makes no token of this prompt; remove it")
            if max_prompt_tokens is not None and len(ids) > max_prompt_tokens:
                raise InputError(
                    f"{where}: the prompt has {len(ids)} tokens, at most {max_prompt_tokens} fit (max_prompt_tokens); "
                    "shorten or remove it, or make room"
                )
        return encoded

    def columns_of(self, indices: Sequence[int]) -> dict[str, list[Any]]:
        """The further columns of some rows, one list a column; None where a row lacks it."""
        names = dict.fromkeys(name for index in indices for name in self.columns[index])
        return {name: [self.columns[index].get(name) for index in indices] for name in names}


PromptSource = PromptDataset | str | Path | Iterable[str | Mapping[str, Any]]
