"""Rows that cannot be used, whatever their fault: counted, and then an error that names them, or a warning."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from textrl_env.errors import InputError

OnBadRow = Literal["error", "skip"]
N_EXAMPLES = 5
"""Bad rows that a message shows."""
SKIP_HINT = 'on_bad_row="skip"'
"""The way out that messages name; the command line spells it as its option."""

Result = TypeVar("Result")


class Fault(str):
    """The reason why a row cannot be read; a type of its own, as a row of the file may itself be a string."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row with its place, as `file:line`."""

    where: str
    values: Mapping[str, Any]


class BadRows:
    """Counts the bad rows of a source, whoever finds their fault: the parser, a check of types or the tokenizer.

    Args:
        source: names the whole in messages.
        on_bad_row: `"error"` or `"skip"`.
        skippable: False where nobody may leave rows out; the message then does not offer it.

    Raises:
        InputError: `on_bad_row` is neither.
    """

    def __init__(self, source: str, on_bad_row: OnBadRow = "error", *, skippable: bool = True) -> None:
        if on_bad_row not in ("error", "skip"):
            raise InputError(f"on_bad_row must be 'error' or 'skip', got {on_bad_row!r}")
        self.source, self.on_bad_row, self.skippable = source, on_bad_row, skippable
        self.count = 0
        self._examples: list[str] = []

    def add(self, where: str, fault: str) -> None:
        """Counts a row; its place is put before the fault, unless the fault begins with it."""
        self.count += 1
        if len(self._examples) < N_EXAMPLES:
            self._examples.append(fault if fault.startswith(where) else f"{where}: {fault}")

    def report(self, n_good: int, *, expected: str) -> None:
        """Says what was found, once all rows have been looked at.

        Args:
            n_good: rows that are fine.
            expected: what rows there should be, for messages.

        Raises:
            InputError: a bad row with `"error"`, or no good one; it tells how many are bad and shows the first.
        """
        if self.count and (self.on_bad_row == "error" or not n_good):
            raise InputError(self._describe(n_good))
        if not n_good:
            raise InputError(f"{self.source}: no usable row; expected {expected}")
        if self.count:
            warnings.warn(
                f"{self.source}: skipped {self.count} bad rows of {self.count + n_good}; first: {self._examples[0]}",
                stacklevel=3,
            )

    def _describe(self, n_good: int) -> str:
        hint = f", or leave bad rows out ({SKIP_HINT})" if self.skippable and n_good else ""
        if self.count == 1:
            return f"{self._examples[0]}; mend the row{hint}" + ("" if n_good else " (there is no other row)")
        n_more = self.count - len(self._examples)
        rows = "\n  ".join(self._examples + ([f"and {n_more} more"] if n_more else []))
        number = f"{self.count} bad rows of {self.count + n_good}" if n_good else f"no usable row, all {self.count} bad"
        return f"{self.source}: {number}; mend them{hint}:\n  {rows}"


def collect(
    items: Iterable[tuple[str, Any]],
    read: Callable[[Any], Result],
    *,
    source: str,
    on_bad_row: OnBadRow = "error",
    expected: str = "one row or more",
    skippable: bool = True,
) -> list[Result]:
    """Reads items one by one; every `InputError` of `read` makes an item a bad row.

    Every stage of checking goes through here: columns and types of a file's rows, and later their tokens.

    Args:
        items: places and items; one that could not be parsed is a `Fault`.
        read: makes the result of an item.
        source: names the whole in messages.
        on_bad_row: `"error"` raises once all have been looked at, `"skip"` leaves bad ones out and warns.
        expected: what rows there should be, for messages.
        skippable: as for `BadRows`.

    Raises:
        InputError: no usable row, or (with `"error"`) bad ones, by place.
    """
    bad = BadRows(source, on_bad_row, skippable=skippable)
    results: list[Result] = []
    for where, item in items:
        if isinstance(item, Fault):
            bad.add(where, item)
            continue
        try:
            results.append(read(item))
        except InputError as error:
            bad.add(where, str(error))
    bad.report(len(results), expected=expected)
    return results


def check_rows(
    rows: Iterable[tuple[str, Any]],
    *,
    columns: Sequence[str],
    fault_of: Callable[[Mapping[str, Any]], str | None],
    source: str,
    on_bad_row: OnBadRow = "error",
    skippable: bool = True,
) -> list[Row]:
    """Returns the rows that are mappings with `columns` in which `fault_of` finds nothing.

    Args:
        rows: places and rows; a row that could not be parsed is a `Fault`.
        columns: that every row must have.
        fault_of: says what is wrong with a row that has them, or None.
        source: names the whole in messages.
        on_bad_row: as for `collect`.
        skippable: as for `BadRows`.

    Raises:
        InputError: no usable row, or (with `"error"`) bad ones, by place.
    """

    def read(row: Row) -> Row:
        require_columns(row.values, columns)
        if fault := fault_of(row.values):
            raise InputError(fault)
        return row

    items = ((where, row if isinstance(row, Fault) else Row(where, row)) for where, row in rows)
    expected = f"columns {', '.join(map(repr, columns))}"
    return collect(items, read, source=source, on_bad_row=on_bad_row, expected=expected, skippable=skippable)


def require_columns(row: Any, columns: Sequence[str]) -> None:
    """Raises InputError where `row` is no mapping, or lacks one of `columns`."""
    if not isinstance(row, Mapping):
        names = f" with columns {', '.join(map(repr, columns))}" if columns else ""
        raise InputError(f"expected an object{names}, got {type(row).__name__}")
    for column in columns:
        if column not in row:
            raise InputError(f"no column {column!r} (found: {', '.join(map(repr, row)) or 'none'})")
