"""Tables of rows: read from a file and checked, or in memory; judgements that nobody submitted are left out."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from textrl_env.data.columns import find_text_fault, is_given
from textrl_env.data.containers import iterate_rows
from textrl_env.data.rows.bad_rows import Fault, OnBadRow, Row, check_rows, collect, require_columns
from textrl_env.data.rows.files import parse_rows

Result = TypeVar("Result")
UNSUBMITTED = frozenset({"discarded", "draft", "pending", "skipped", "cancelled", "canceled"})
"""Values of a column `status`, in small letters, that say that a judgement does not count."""


def read_rows(
    path: str | Path,
    *,
    text_columns: Sequence[str],
    may_be_empty: Sequence[str] = (),
    optional: Sequence[str] = (),
    fault_of: Callable[[Mapping[str, Any]], str | None] = lambda row: None,
    on_bad_row: OnBadRow = "error",
    skippable: bool = True,
) -> list[Row]:
    """Reads a `.jsonl`, `.json` (a list of objects), `.csv`, `.tsv`, `.txt` (a text per line) or `.parquet` file.

    Args:
        path: the file; its ending names the format. A `.txt` file has one column, the first of `text_columns`.
        text_columns: columns that every row must have, as strings with something in them.
        may_be_empty: those of `text_columns` in which an empty string is fine.
        optional: further columns that must be strings where they are given; empty or null is not given.
        fault_of: says what else is wrong with a row whose columns are right, or None.
        on_bad_row: `"error"` raises once every row has been looked at, `"skip"` leaves bad rows out and warns with
            their number.
        skippable: False where the user of this function cannot choose `on_bad_row`.

    Raises:
        InputError: no such file, an unknown format, no usable row, or (with `"error"`) bad rows, by `file:line`.
    """

    def fault_in(row: Mapping[str, Any]) -> str | None:
        for column in (*text_columns, *(name for name in optional if is_given(row.get(name)))):
            if fault := find_text_fault(row[column]):
                return f"column {column!r} {fault}"
            if column in text_columns and column not in may_be_empty and not row[column].strip():
                return f"column {column!r} is empty"
        return fault_of(row)

    rows = parse_rows(path, text_columns[0])
    return check_rows(
        rows, columns=text_columns, fault_of=fault_in, on_bad_row=on_bad_row, source=str(path), skippable=skippable
    )


def read_each(
    path: str | Path,
    read: Callable[[Row], Result],
    *,
    column: str,
    on_bad_row: OnBadRow = "error",
    only_submitted: bool = False,
) -> list[Result]:
    """Reads a file with a function that makes the result of a row.

    Args:
        path: as for `read_rows`.
        read: raises InputError where a row is bad.
        column: that the rows should have.
        on_bad_row: as for `read_rows`.
        only_submitted: leaves out judgements whose `status` says that nobody submitted them, with a warning.

    Raises:
        InputError: as `read_rows`.
    """
    rows: Iterable[tuple[str, Any]] = parse_rows(path, column)
    if only_submitted:
        rows = drop_unsubmitted(rows, source=str(path))
    items = ((where, row if isinstance(row, Fault) else Row(where, row)) for where, row in rows)

    def read_mapping(row: Row) -> Result:
        require_columns(row.values, [])
        return read(row)

    expected = f"rows with a column {column!r}"
    return collect(items, read_mapping, source=str(path), on_bad_row=on_bad_row, expected=expected)


def place_rows(rows: Any, *, name: str) -> list[tuple[str, Row | Any]]:
    """Returns rows in memory with their places: what their `where` says, else `name` and their number from 0."""
    items: list[tuple[str, Row | Any]] = []
    for index, row in enumerate(iterate_rows(rows, name=f"{name}s")):
        is_row = isinstance(row, Mapping)
        where = str(row.get("where") or f"{name} {index}") if is_row else f"{name} {index}"
        items.append((where, Row(where, row) if is_row else row))
    return items


def drop_unsubmitted(rows: Iterable[tuple[str, Any]], *, source: str) -> Iterator[tuple[str, Any]]:
    """Yields places and rows, but for those whose `status` says discarded, draft and so on; warns of their number.

    Other values of `status`, which may be about something else, count as submitted.
    """
    counts: Counter[str] = Counter()
    for where, row in rows:
        status = row.get("status") if isinstance(row, Mapping) else None
        if isinstance(status, str) and status.strip().lower() in UNSUBMITTED:
            counts[status.strip().lower()] += 1
        else:
            yield where, row
    if counts:
        names = ", ".join(f"{n} {name}" for name, n in counts.most_common())
        warnings.warn(f"{source}: left out {counts.total()} rows that nobody submitted ({names})", stacklevel=2)
