"""Parquet, row by row, with values as JSON would have them."""

from collections.abc import Iterator, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from textrl_env.data.rows.bad_rows import Fault
from textrl_env.errors import InputError


def parquet_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Yields (place, row) for every row; decimals are floats, times are texts as in ISO 8601.

    Raises:
        InputError: pyarrow is not installed, the file is damaged, or two columns have one name.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError(f"{path}: reading Parquet needs pyarrow; run: pip install pyarrow") from None
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise InputError(f"{path}: two columns are called {twice!r}; rename or remove one")
            for batch in file.iter_batches(batch_size=8192):
                for index in range(batch.num_rows):
                    number += 1
                    yield f"{path}: row {number}", _make_row(names, batch.columns, index)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path}: not readable as Parquet: {error}") from None


def _make_row(names: list[str], columns: list[Any], index: int) -> Any:
    row = {}
    for name, column in zip(names, columns, strict=True):
        try:
            row[name] = _plain_value(column[index].as_py())
        except UnicodeDecodeError as error:  # Arrow does not check that a string column holds UTF-8.
            found = error.object[error.start]
            return Fault(f"a text of column {name!r} is not UTF-8 at its byte {error.start} (found 0x{found:02x})")
        except (ValueError, OverflowError) as error:  # times that Python has no type for
            return Fault(f"column {name!r} cannot be read: {error}")
    return row


def _plain_value(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, list):
        return [_plain_value(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain_value(item) for key, item in value.items()}
    return value
