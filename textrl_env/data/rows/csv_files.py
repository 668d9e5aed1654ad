"""CSV as spreadsheets and exports write it: any delimiter, cells of any length, and a bad row is bad alone."""

import csv
import json
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textrl_env.data.rows.bad_rows import Fault
from textrl_env.data.rows.text_lines import find_line_fault, numbered_lines
from textrl_env.errors import InputError

DELIMITERS = ",;\t|"
MAX_REREAD = 1_000_000
"""Lines that may be read a second time, because a quote before them was never closed."""


def csv_rows(path: Path, column: str) -> Iterator[tuple[str, Any]]:
    """Yields (place of its first line, row) for every record that is not blank; all cells are texts.

    A cell that is the JSON text of messages becomes a list of them. The delimiter is that of `.tsv`, of a first line
    `sep=;`, or the one by which the header has `column`, or most columns.

    Args:
        path: the file.
        column: that the header should have.

    Raises:
        InputError: two columns have one name, or quotes that do not match are all over the file.
    """
    # Python refuses cells of more than 131,072 characters by default.
    csv.field_size_limit(max(csv.field_size_limit(), 2**31 - 1))
    lines = _LineFeed(numbered_lines(path))
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ""
    first = next(lines, "")
    if match := re.fullmatch(r"\s*\"?sep=(.)\"?\s*", first):
        delimiter = match[1]
    else:
        lines.give_back()
        delimiter = delimiter or _find_delimiter(first, column)
    records = _Records(path, lines, delimiter)
    header = next((record for _, record in records if isinstance(record, Fault) or any(map(str.strip, record))), None)
    if header is None:
        return
    fault = header if isinstance(header, Fault) else find_line_fault(delimiter.join(header))
    if isinstance(header, Fault) or fault:
        raise InputError(f"{path}: the header cannot be read: {fault}")
    names = [name.strip() for name in header]
    twice = {name for name in names if name and names.count(name) > 1}
    if twice:
        raise InputError(f"{path}: two columns are called {min(twice)!r}; rename or remove one")
    records.n_columns = len(names)
    for number, record in records:
        if isinstance(record, Fault) or any(map(str.strip, record)):
            yield f"{path}:{number}", record if isinstance(record, Fault) else _make_row(names, record)


def _find_delimiter(header: str, column: str) -> str:
    """Returns the delimiter by which the header has the column, else most columns; the comma where all are alike."""

    def score(delimiter: str) -> tuple[bool, int]:
        try:
            names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
        except csv.Error:
            names = []
        return column in names, len(names)

    return max(DELIMITERS, key=score)


def _make_row(names: Sequence[str], cells: Sequence[str]) -> Any:
    """Returns the row of a record; a first column without a name is an index, and left out."""
    if any(cell.strip() for cell in cells[len(names) :]):
        return Fault(f"{len(cells) - len(names)} more fields than the header has")
    if len(cells) < len(names):
        return Fault("fewer fields than the header has")
    row = {}
    for place, (name, cell) in enumerate(zip(names, cells, strict=False)):
        if fault := find_line_fault(cell):
            return Fault(f"column {name!r}: {fault}")
        if name:
            row[name] = _read_messages(cell)
        elif place and cell.strip():
            return Fault(f"{cell!r:.60} stands in a column without a name")
    return row


def _read_messages(cell: str) -> Any:
    """Returns the messages that a cell is the JSON text of, else the cell."""
    if not re.match(r"\s*\[\s*\{\s*['\"]", cell):
        return cell
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return cell
    is_conversation = all(isinstance(item, Mapping) and {"role", "content"} <= item.keys() for item in value)
    return value if is_conversation else cell


class _LineFeed:
    """Lines for the parser, with their numbers; those of the record at hand can be given back."""

    def __init__(self, lines: Iterator[tuple[int, str]]) -> None:
        self._lines, self._waiting = lines, deque[tuple[int, str]]()
        self.record: list[tuple[int, str]] = []

    def __iter__(self) -> "_LineFeed":
        return self

    def __next__(self) -> str:
        line = self._waiting.popleft() if self._waiting else next(self._lines)
        self.record.append(line)
        return line[1]

    def give_back(self, after: int = 0) -> None:
        """Takes back the lines of the record at hand, but for the first `after`."""
        self._waiting.extendleft(reversed(self.record[after:]))
        del self.record[after:]


@dataclass
class _Records:
    """Splits lines into records of cells, each with the number of its first line.

    A quote that is opened and never closed, or not before a delimiter, would swallow all lines up to the next quote.
    Only its own line is given up then: the lines after it are read anew, where most of them look like records.
    """

    path: Path
    lines: _LineFeed
    delimiter: str
    n_columns: int = 0

    def __post_init__(self) -> None:
        self._reader = csv.reader(self.lines, delimiter=self.delimiter, strict=True)
        self._n_reread, self._suspect_until = 0, 0
        cell = rf'(?:[^"{re.escape(self.delimiter)}]*|\s*"(?:[^"]|"")*"\s*)'
        self._clean = re.compile(rf"{cell}(?:{re.escape(self.delimiter)}{cell})*", re.DOTALL)

    def __iter__(self) -> Iterator[tuple[int, list[str] | Fault]]:
        while True:
            self.lines.record.clear()
            try:
                record: list[str] | Fault = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                record = self._give_up(str(error))
            number = self.lines.record[0][0]
            if not isinstance(record, Fault):
                record = self._check_quotes(record)
            yield number, record

    def _check_quotes(self, cells: list[str]) -> list[str] | Fault:
        """Returns a record that could be parsed, or its fault where its quotes cannot be what was meant."""
        (number, _), *others = self.lines.record
        is_clean = self._clean.fullmatch("".join(line for _, line in self.lines.record)) is not None
        is_doubtful = others and self.n_columns and not (is_clean and len(cells) == self.n_columns)
        # A stray quote may by chance end at another row's quote.
        if is_doubtful and self._look_like_records([line for _, line in others], at_end=False):
            return self._give_up("quotes do not match")
        if number <= self._suspect_until and not is_clean:
            return Fault("a quote within a cell, after a row whose quotes do not match")
        return cells

    def _give_up(self, reason: str) -> Fault:
        """Returns the fault of the record at hand, and gives back those of its lines that may be records."""
        (first, _), *others = self.lines.record
        at_end = reason == "unexpected end of data"
        if others and (at_end or self._look_like_records([line for _, line in others])):
            self._n_reread += len(others)
            self._suspect_until = others[-1][0]
            if self._n_reread > MAX_REREAD:
                raise InputError(f"{self.path}:{first}: quotes do not match here, nor in many rows before; mend them")
            self.lines.give_back(after=1)
        if at_end:
            return Fault('not readable as CSV: a quote " that is opened here is never closed')
        place = f" (in line {others[-1][0]})" if others else ""
        return Fault(f"not readable as CSV: {reason}{place}; a quote within a quoted cell is written twice")

    def _look_like_records(self, lines: Sequence[str], *, at_end: bool = True) -> bool:
        """Returns True where half of the lines or more are records by themselves; `at_end`: the last may begin one."""
        n_records = 0
        for place, line in enumerate(lines, start=1):
            try:
                cells = next(csv.reader([line], delimiter=self.delimiter), [])
            except csv.Error:
                continue
            is_whole = len(cells) == self.n_columns and self._clean.fullmatch(line) is not None
            n_records += is_whole or (at_end and place == len(lines) and len(cells) <= self.n_columns)
        return 2 * n_records >= len(lines)
