"""Rows of unknown origin, checked one by one: a bad one stops the reading, with its place and fault, or is skipped."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from textrl_env.data.faults import prompt_fault, text_fault
from textrl_env.data.row_formats import Fault, parse
from textrl_env.errors import InputError

OnBadRow = Literal["error", "skip"]


@dataclass(frozen=True, slots=True)
class Row:
    """One row and where it stood, as `file:line`."""

    where: str
    values: Mapping[str, Any]


def read_rows(
    path: str | Path,
    *,
    text_columns: Sequence[str],
    may_be_empty: Sequence[str] = (),
    optional: Sequence[str] = (),
    fault_of: Callable[[Mapping[str, Any]], str | None] = lambda row: None,
    on_bad_row: OnBadRow = "error",
) -> list[Row]:
    """Rows of a `.jsonl`, `.json` (a list of objects), `.csv`, `.txt` (one text per line) or `.parquet` file.

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

    def fault(row: Mapping[str, Any]) -> str | None:
        for column in (*text_columns, *(name for name in optional if name in row)):
            if found := text_fault(row[column]):
                return f"column {column!r} {found}"
            if column in text_columns and column not in may_be_empty and not row[column].strip():
                return f"column {column!r} is empty"
        return fault_of(row)

    parsed = parse(path, text_columns[0])
    return list(checked_rows(parsed, columns=text_columns, fault_of=fault, on_bad_row=on_bad_row, source=str(path)))


def read_prompt_rows(
    rows: Iterable[tuple[str, Any]], *, prompt_column: str, on_bad_row: OnBadRow, source: str
) -> Iterator[Row]:
    """`checked_rows` whose prompt column holds a text or a conversation with something in it."""

    def fault(row: Mapping[str, Any]) -> str | None:
        found = prompt_fault(row[prompt_column])
        return found and f"column {prompt_column!r} {found}"

    return checked_rows(rows, columns=[prompt_column], fault_of=fault, on_bad_row=on_bad_row, source=source)


def checked_rows(
    rows: Iterable[tuple[str, Any]],
    *,
    columns: Sequence[str],
    fault_of: Callable[[Mapping[str, Any]], str | None],
    on_bad_row: OnBadRow,
    source: str,
) -> Iterator[Row]:
    """Those of (place, row) that are mappings with `columns` in which `fault_of` finds nothing; errors as `read_rows`.

    Args:
        rows: places and rows; a row that could not be read is a `Fault`.
        columns: that every row must have.
        fault_of: says what is wrong with a row that has them, or None.
        on_bad_row: as for `read_rows`.
        source: names the whole in messages.
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
