"""The files of a training's log, `progress.jsonl` and `progress.csv`: rows that stay, whatever ends the process.

They are started with the rows that stay from an earlier part of the run, written whole and then renamed, so that no
crash loses them; each further row is one write.
"""

import csv
import io
import json
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import KVWriter, filter_excluded_keys

from textrl_env.files import write_bytes, write_text

ROWS, SAMPLES = "progress.jsonl", "samples.jsonl"
Row = Mapping[str, Any]
Exclusions = Mapping[str, Any]
"""Tag -> names of the outputs that leave it out."""


class JSONRows(KVWriter):
    """A row as a JSON object a line.

    Args:
        path: the file; replaced.
        rows: it starts with.
    """

    def __init__(self, path: Path, rows: Iterable[Row] = ()) -> None:
        write_text(path, "".join(map(_as_line, rows)))
        # Without a buffer, which a full disk would leave to be written when the process ends.
        self._file = path.open("ab", buffering=0)

    def write(self, key_values: Row, key_excluded: Exclusions, step: int = 0) -> None:
        """Appends a row."""
        row = filter_excluded_keys(dict(key_values), dict(key_excluded), "json")
        write_all(self._file, _as_line(row))

    def flush(self) -> None:
        """Returns once all rows are on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class CSVRows(KVWriter):
    """A table with a column a tag, in the order in which they came; one that a row lacks is empty.

    Args:
        path: the file; replaced.
        rows: it starts with.
    """

    def __init__(self, path: Path, rows: Iterable[Row] = ()) -> None:
        self.path, self._columns = path, list[str]()
        rows = list(rows)
        for row in rows:
            self._columns += [tag for tag in row if tag not in self._columns]
        self._start(rows)

    def write(self, key_values: Row, key_excluded: Exclusions, step: int = 0) -> None:
        """Appends a row; one with new tags makes the file anew."""
        row = filter_excluded_keys(dict(key_values), dict(key_excluded), "csv")
        if tags := [tag for tag in row if tag not in self._columns]:
            self._file.close()
            with self.path.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            self._columns += tags
            self._start(rows)
        write_all(self._file, self._as_text([row]))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _start(self, rows: Iterable[Row]) -> None:
        header = self._as_text([dict(zip(self._columns, self._columns, strict=True))]) if self._columns else ""
        write_text(self.path, header + self._as_text(rows))
        self._file = self.path.open("ab", buffering=0)

    def _as_text(self, rows: Iterable[Row]) -> str:
        text = io.StringIO()
        csv.DictWriter(text, self._columns, restval="", lineterminator="\n").writerows(rows)
        return text.getvalue()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Reads the rows of `progress.jsonl`; none where it is not there.

    A killed process or a full disk may have left half a line at the end, which is no row. Any other line that is none
    is left out with a warning.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line) if line else None
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        elif line and number < len(lines):
            warnings.warn(f"{path}:{number}: no row of a log; left out", stacklevel=2)
    return rows


def count_lines(folder: Path) -> dict[str, int]:
    """Returns the number of lines of the files that only grow, by name; a checkpoint holds it."""
    files = {name: folder / name for name in (ROWS, SAMPLES)}
    return {name: file.read_bytes().count(b"\n") for name, file in files.items() if file.is_file()}


def trim_lines(file: Path, n_lines: int) -> None:
    """Keeps the first lines of a file, if there is one; of none no file stays."""
    if not file.is_file():
        return
    lines = file.read_bytes().splitlines(keepends=True)[:n_lines]
    if lines:
        write_bytes(file, b"".join(lines))
    else:
        file.unlink()


def write_all(file: io.FileIO, text: str) -> None:
    """Writes a text to a file without a buffer, which may take it in parts; an error of the disk names the file."""
    data = text.encode()
    try:
        while data:
            data = data[file.write(data) or 0 :]
    except OSError as error:
        # Of an open file the system does not say which one it is.
        error.filename = file.name
        raise


def _as_line(row: Row) -> str:
    return json.dumps({tag: _as_plain(value) for tag, value in row.items()}) + "\n"


def _as_plain(value: Any) -> Any:
    """Returns numpy's and torch's numbers as JSON can write them."""
    if not hasattr(value, "dtype"):
        return value
    return float(value.item()) if value.shape == () or len(value) == 1 else value.tolist()
