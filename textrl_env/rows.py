"""Reading rows of unknown origin: JSONL, JSON, CSV and plain text, line by line, with the place of every fault."""

import codecs
import csv
import io
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from textrl_env.errors import InputError

OnBadRow = Literal["error", "skip"]


@dataclass(frozen=True)
class Row:
    """One row and where it stood, as `file:line`."""

    where: str
    values: dict[str, Any]


def read_rows(
    path: str | Path,
    *,
    text_columns: Sequence[str],
    may_be_empty: Sequence[str] = (),
    optional: Sequence[str] = (),
    fault_of: Callable[[Mapping[str, Any]], str | None] = lambda row: None,
    on_bad_row: OnBadRow = "error",
) -> list[Row]:
    """Rows of a `.jsonl`, `.json` (a list of objects), `.csv` or `.txt` (one text per line) file.

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
    path = Path(path)
    rows: list[Row] = []
    faults: list[str] = []
    for where, parsed in _parse(path, text_columns[0]):
        fault = parsed if isinstance(parsed, _Fault) else _fault(parsed, text_columns, may_be_empty, optional)
        fault = fault_of(parsed) if fault is None else fault
        if fault is None:
            assert isinstance(parsed, dict)
            rows.append(Row(where, parsed))
        elif on_bad_row == "error":
            raise InputError(f"{where}: {fault}; mend the row, or leave bad rows out (on_bad_row: skip)")
        else:
            faults.append(f"{where}: {fault}")
    if faults:
        total = len(faults) + len(rows)
        warnings.warn(f"{path}: skipped {len(faults)} bad rows of {total}; first: {faults[0]}", stacklevel=2)
    if not rows:
        raise InputError(f"{path}: no usable row; expected columns {', '.join(map(repr, text_columns))}")
    return rows


class _Fault(str):
    """Why a row cannot be read; a type of its own, as a row of the file may itself be a string."""


def _parse(path: Path, text_column: str) -> Iterator[tuple[str, Any]]:
    """(place, row) for every non-blank line, where a row that cannot be read is a `_Fault`."""
    if not path.is_file():
        raise InputError(f"{path}: is a folder, expected a file" if path.is_dir() else f"{path}: no such file")
    data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    match path.suffix.lower():
        case ".jsonl":
            for number, line in enumerate(data.split(b"\n"), start=1):
                if line.strip():
                    yield f"{path}:{number}", _json(line)
        case ".txt":
            for number, line in enumerate(data.split(b"\n"), start=1):
                if line.strip():
                    text = _text(line)
                    yield f"{path}:{number}", text if isinstance(text, _Fault) else {text_column: text.strip()}
        case ".json":
            rows = _json(data)
            if not isinstance(rows, list):
                found = rows if isinstance(rows, _Fault) else type(rows).__name__
                raise InputError(f"{path}: expected a list of objects, got {found}")
            yield from ((f"{path}: item {number}", row) for number, row in enumerate(rows, start=1))
        case ".csv":
            try:
                reader = csv.DictReader(io.StringIO(data.decode("utf-8"), newline=""), strict=True)
                for row in reader:
                    yield f"{path}:{reader.line_num}", _csv(row)
            except (UnicodeDecodeError, csv.Error) as error:
                raise InputError(f"{path}: not readable as UTF-8 CSV: {error}") from None
        case ending:
            raise InputError(f"{path}: unknown format {ending!r}; expected .jsonl, .json, .csv or .txt")


def _text(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        return _Fault(f"not UTF-8 at byte {error.start} of the line (found 0x{line[error.start]:02x})")


def _json(data: bytes) -> Any:
    text = _text(data)
    if isinstance(text, _Fault):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        return _Fault(f"not JSON: {error.msg} at column {error.colno}")
    except RecursionError:
        return _Fault("not usable JSON: nested too deeply")
    except ValueError as error:  # Python reads no integers of more than 4300 digits.
        return _Fault(f"not usable JSON: {error}")


def _csv(row: dict[Any, Any]) -> Any:
    if None in row:
        return _Fault(f"{len(row[None])} more fields than the header has")
    if None in row.values():
        return _Fault("fewer fields than the header has")
    return row


def _fault(row: Any, text_columns: Sequence[str], may_be_empty: Sequence[str], optional: Sequence[str]) -> str | None:
    if not isinstance(row, dict):
        return f"expected an object with columns {', '.join(map(repr, text_columns))}, got {type(row).__name__}"
    for column in text_columns:
        if column not in row:
            found = ", ".join(map(repr, row)) or "none"
            return f"no column {column!r} (found: {found})"
    for column in (*text_columns, *(name for name in optional if name in row)):
        value = row[column]
        if not isinstance(value, str):
            kind = "null" if value is None else type(value).__name__
            return f"column {column!r} must be text, got {kind}"
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            return f"column {column!r} holds half a surrogate pair, which is not text"
        if column in text_columns and column not in may_be_empty and not value.strip():
            return f"column {column!r} is empty"
    return None
