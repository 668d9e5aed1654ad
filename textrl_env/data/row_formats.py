"""Files of rows: JSONL, JSON, CSV, plain text and Parquet, row by row, with the place of every row."""

import codecs
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from textrl_env.errors import InputError


class Fault(str):
    """The reason why a row cannot be read; a type of its own, as a row of the file may itself be a string."""


def parse_rows(path: str | Path, text_column: str) -> Iterator[tuple[str, Any]]:
    """Yields (place, row) for every row, blank lines left out; a row that cannot be read is a `Fault`.

    One line of a `.jsonl`, `.txt` or `.csv` file, or one batch of rows of a `.parquet` file, is held at a time.

    Args:
        path: the file; its ending names the format.
        text_column: the name of a `.txt` file's only column.

    Raises:
        InputError: no such file, an unknown format, or a file that cannot be read as a whole.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: is a folder, expected a file" if path.is_dir() else f"{path}: no such file")
    match path.suffix.lower():
        case ".jsonl":
            yield from ((place, _json(line)) for place, line in _lines(path))
        case ".txt":
            for place, line in _lines(path):
                text = _text(line)
                yield place, text if isinstance(text, Fault) else {text_column: text.strip()}
        case ".json":
            yield from _json_rows(path)
        case ".csv":
            yield from _csv_rows(path)
        case ".parquet":
            yield from ((f"{path}: row {number}", row) for number, row in enumerate(_parquet_rows(path), start=1))
        case ending:
            raise InputError(f"{path}: unknown format {ending!r}; expected .jsonl, .json, .csv, .txt or .parquet")


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            line = line.removesuffix(b"\n")
            if line.strip():
                yield f"{path}:{number}", line


def _text(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        return Fault(f"not UTF-8 at byte {error.start} of the line (found 0x{line[error.start]:02x})")


def _json(data: bytes) -> Any:
    text = _text(data)
    if isinstance(text, Fault):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        return Fault(f"not JSON: {error.msg} at column {error.colno}")
    except RecursionError:
        return Fault("not usable JSON: nested too deeply")
    except ValueError as error:  # Python reads no integers of more than 4300 digits.
        return Fault(f"not usable JSON: {error}")


def _json_rows(path: Path) -> Iterator[tuple[str, Any]]:
    rows = _json(path.read_bytes().removeprefix(codecs.BOM_UTF8))
    if not isinstance(rows, list):
        raise InputError(
            f"{path}: expected a list of objects, got {rows if isinstance(rows, Fault) else type(rows).__name__}"
        )
    yield from ((f"{path}: item {number}", row) for number, row in enumerate(rows, start=1))


def _csv_rows(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            for row in reader:
                yield f"{path}:{reader.line_num}", _csv_row(row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not readable as UTF-8 CSV: {error}") from None


def _csv_row(row: dict[Any, Any]) -> Any:
    if None in row:
        return Fault(f"{len(row[None])} more fields than the header has")
    if None in row.values():
        return Fault("fewer fields than the header has")
    return row


def _parquet_rows(path: Path) -> Iterator[Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError(f"{path}: reading Parquet needs pyarrow; run: pip install pyarrow") from None
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            for batch in file.iter_batches(batch_size=8192):
                for index in range(batch.num_rows):
                    yield _parquet_row(names, batch.columns, index)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path}: not readable as Parquet: {error}") from None


def _parquet_row(names: list[str], columns: list[Any], index: int) -> Any:
    try:
        return {name: column[index].as_py() for name, column in zip(names, columns, strict=True)}
    except UnicodeDecodeError as error:  # Arrow does not check that a string column holds UTF-8.
        return Fault(f"a text is not UTF-8 at its byte {error.start} (found 0x{error.object[error.start]:02x})")
