"""Files of rows: JSONL, JSON, CSV, TSV, plain text and Parquet, row by row, with the place of every row."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from textrl_env.data.rows.bad_rows import Fault
from textrl_env.data.rows.csv_files import csv_rows
from textrl_env.data.rows.json_files import json_rows, jsonl_rows
from textrl_env.data.rows.parquet_files import parquet_rows
from textrl_env.data.rows.text_lines import find_line_fault, numbered_lines
from textrl_env.errors import InputError

FORMATS = ".jsonl, .json, .csv, .tsv, .txt or .parquet"
SIGNATURES = {
    b"\x1f\x8b": "is compressed; unpack it first (gunzip)",
    b"BZh91AY&SY": "is compressed; unpack it first (bunzip2)",
    b"\xfd7zXZ": "is compressed; unpack it first (unxz)",
    b"\x28\xb5\x2f\xfd": "is compressed; unpack it first (unzstd)",
    b"PK\x03\x04": "is a ZIP archive, as spreadsheets are; save the table as CSV, or unpack it first",
    b"\xd0\xcf\x11\xe0": "is an old Office document; save the table as CSV",
    b"ARROW1": "is an Arrow file; save it as Parquet or JSON lines",
    b"version https://git-lfs": "is a pointer of Git LFS, not the file itself; fetch it with: git lfs pull",
}
"""First bytes of files that hold something else than their names may say."""


def parse_rows(path: str | Path, text_column: str) -> Iterator[tuple[str, Any]]:
    """Yields (place, row) for every row, blank ones left out; a row that cannot be read is a `Fault`.

    One line of a `.jsonl` or `.txt` file, one row of a `.csv` or `.tsv` file, or one batch of rows of a `.parquet` file
    is held at a time. Text files are UTF-8, or UTF-16 or UTF-32 that say so.

    Args:
        path: the file; its ending names the format.
        text_column: the name of a `.txt` file's only column, and one that a `.csv` file should have: by it the
            delimiter is found.

    Raises:
        InputError: no such file, an unknown format, or a file that cannot be read as a whole.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise InputError(f"{path}: is a folder, expected a file" if path.is_dir() else f"{path}: no such file")
        _check_signature(path)
        yield from _read(path, text_column)
    except PermissionError:
        raise InputError(f"{path}: may not be read (permission denied)") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def _read(path: Path, text_column: str) -> Iterator[tuple[str, Any]]:
    match path.suffix.lower():
        case ".jsonl" | ".ndjson":
            return jsonl_rows(path)
        case ".txt":
            return _text_rows(path, text_column)
        case ".json":
            return json_rows(path)
        case ".csv" | ".tsv":
            return csv_rows(path, text_column)
        case ".parquet":
            return parquet_rows(path)
        case ending:
            raise InputError(f"{path}: unknown format {ending!r}; expected {FORMATS}")


def _text_rows(path: Path, column: str) -> Iterator[tuple[str, Any]]:
    for number, line in numbered_lines(path):
        if text := line.strip():
            fault = find_line_fault(line)
            yield f"{path}:{number}", Fault(fault) if fault else {column: text}


def _check_signature(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(64)
    for signature, description in SIGNATURES.items():
        if start.startswith(signature):
            raise InputError(f"{path}: {description}")
    if start.startswith(b"PAR1") and path.suffix.lower() != ".parquet":
        raise InputError(f"{path}: is a Parquet file; name it .parquet")
