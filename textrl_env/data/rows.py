"""Rows of unknown origin, checked one by one: a bad one stops the reading, with its place and fault, or is skipped."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from textrl_env.data.row_formats import Fault, parse_rows
from textrl_env.errors import InputError

OnBadRow = Literal["error", "skip"]


@dataclass(frozen=True, slots=True)
class Row:
    """A row with its place, as `file:line`."""

    where: str
    values: Mapping[str, Any]


def find_text_fault(value: Any) -> str | None:
    """Says why `value` is no text that can be encoded, in words that follow its name; None where it is (or empty)."""
    if not isinstance(value, str):
        return f"must be text, got {'null' if value is None else type(value).__name__}"
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        return "holds half a surrogate pair, which is not text"
    return None


def find_prompt_fault(value: Any) -> str | None:
    """Says why `value` is no prompt, in words that follow its name; None where it is.

    A prompt is a text, or a list of messages `{"role": …, "content": …}`, with something in it. Further keys of a
    message are the chat template's business.
    """
    if not isinstance(value, list | tuple):
        return find_text_fault(value) or (None if value.strip() else "is empty")
    for number, message in enumerate(value, start=1):
        if not isinstance(message, Mapping):
            kind = "null" if message is None else type(message).__name__
            return f"must hold messages, objects with 'role' and 'content', but message {number} is {kind}"
        for key in ("role", "content"):
            if key not in message:
                keys = ", ".join(map(repr, message)) or "none"
                return f"must hold messages with {key!r}, but message {number} has none (found: {keys})"
            if fault := find_text_fault(message[key]):
                return f"must hold messages of text: {key!r} of message {number} {fault}"
        if not message["role"].strip():
            return f"must hold messages with a role, but that of message {number} is empty"
    return None if any(message["content"].strip() for message in value) else "is empty"


def read_rows(
    path: str | Path,
    *,
    text_columns: Sequence[str],
    may_be_empty: Sequence[str] = (),
    optional: Sequence[str] = (),
    fault_of: Callable[[Mapping[str, Any]], str | None] = lambda row: None,
    on_bad_row: OnBadRow = "error",
) -> list[Row]:
    """Reads a `.jsonl`, `.json` (a list of objects), `.csv`, `.txt` (one text per line) or `.parquet` file.

    Args:
        path: the file; its ending names the format. A `.txt` file has one column, the first of `text_columns`.
        text_columns: columns that every row must have, as strings with something in them.
        may_be_empty: those of `text_columns` in which an empty string is fine.
        optional: further columns that must be strings where they are present; empty ones are fine.
        fault_of: says what else is wrong with a row whose columns are right, or None.
        on_bad_row: `"error"` stops at the first bad row, `"skip"` leaves bad rows out and warns with their number.

    Raises:
        InputError: no such file, an unknown format, no usable row, or (with `"error"`) a bad row, named `file:line`.
    """

    def fault_in(row: Mapping[str, Any]) -> str | None:
        for column in (*text_columns, *(name for name in optional if name in row)):
            if fault := find_text_fault(row[column]):
                return f"column {column!r} {fault}"
            if column in text_columns and column not in may_be_empty and not row[column].strip():
                return f"column {column!r} is empty"
        return fault_of(row)

    rows = parse_rows(path, text_columns[0])
    return list(check_rows(rows, columns=text_columns, fault_of=fault_in, on_bad_row=on_bad_row, source=str(path)))


def check_prompt_rows(
    rows: Iterable[tuple[str, Any]], *, prompt_column: str, on_bad_row: OnBadRow, source: str
) -> Iterator[Row]:
    """Yields rows as `check_rows` does, whose prompt column holds a text or a conversation with something in it."""

    def fault_in(row: Mapping[str, Any]) -> str | None:
        fault = find_prompt_fault(row[prompt_column])
        return fault and f"column {prompt_column!r} {fault}"

    return check_rows(rows, columns=[prompt_column], fault_of=fault_in, on_bad_row=on_bad_row, source=source)


def check_rows(
    rows: Iterable[tuple[str, Any]],
    *,
    columns: Sequence[str],
    fault_of: Callable[[Mapping[str, Any]], str | None],
    on_bad_row: OnBadRow,
    source: str,
) -> Iterator[Row]:
    """Yields the rows that are mappings with `columns` in which `fault_of` finds nothing.

    Args:
        rows: places and rows; a row that could not be read is a `Fault`.
        columns: that every row must have.
        fault_of: says what is wrong with a row that has them, or None.
        on_bad_row: as for `read_rows`.
        source: names the whole in messages.

    Raises:
        InputError: no usable row, or (with `"error"`) a bad row, named by its place.
    """
    n_good, n_bad, first = 0, 0, ""
    for where, row in rows:
        fault = row if isinstance(row, Fault) else _shape_fault(row, columns) or fault_of(row)
        if fault is None:
            n_good += 1
            yield Row(where, row)
        elif on_bad_row == "error":
            raise InputError(f"{where}: {fault}; mend the row, or leave bad rows out (on_bad_row: skip)")
        else:
            n_bad, first = n_bad + 1, first or f"{where}: {fault}"
    if n_bad:
        warnings.warn(f"{source}: skipped {n_bad} bad rows of {n_bad + n_good}; first: {first}", stacklevel=2)
    if not n_good:
        raise InputError(f"{source}: no usable row; expected columns {', '.join(map(repr, columns))}")


def _shape_fault(row: Any, columns: Sequence[str]) -> str | None:
    if not isinstance(row, Mapping):
        return f"expected an object with columns {', '.join(map(repr, columns))}, got {type(row).__name__}"
    for column in columns:
        if column not in row:
            return f"no column {column!r} (found: {', '.join(map(repr, row)) or 'none'})"
    return None
