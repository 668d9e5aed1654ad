"""Rows out of whatever holds them: lists, generators, arrays, series, data frames, tables, datasets."""

import io
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

import numpy as np

from textrl_env.errors import InputError


def iterate_rows(source: Any, *, name: str) -> Iterator[Any]:
    """Yields the rows of a container, texts or mappings, as values of Python that share nothing with the container.

    Args:
        source: a list, a tuple, a generator, a NumPy array, a pandas or polars frame or series, a pyarrow table, a
            `datasets.Dataset` or anything else that yields rows in an order. What a frame marks as missing (NaN, NaT,
            NA) becomes None; NumPy's scalars and arrays of texts or objects become Python's scalars and lists.
        name: of the rows, in messages.

    Raises:
        InputError: one mapping (say, of columns or of splits), a text, a set, or nothing that yields rows.
    """
    return map(python_value, _entries(source, name))


def _entries(source: Any, name: str) -> Iterator[Any]:
    """The container's rows as it holds them."""
    kind = type(source).__name__
    if advice := _advice(source):
        raise InputError(f"{name} must be rows, got a {kind}{advice}")
    source = _in_python(source)
    if hasattr(source, "notna"):  # pandas
        frame = source.astype(object).where(source.notna(), None)
        if frame.ndim == 1:
            return iter(frame)
        return _named_rows(name, frame.columns, frame.itertuples(index=False, name=None))
    if hasattr(source, "iter_rows") and hasattr(source, "columns"):  # polars
        return _named_rows(name, source.columns, source.iter_rows())
    if hasattr(source, "to_pylist"):  # pyarrow
        return iter(source.to_pylist())
    if hasattr(source, "__getitem__") and hasattr(source, "__len__") and not hasattr(source, "__iter__"):
        return (source[index] for index in range(len(source)))  # torch's datasets, which need not say where they end
    try:
        return iter(source)
    except TypeError:
        raise InputError(
            f"{name} must be rows, got {kind} {source!r:.80}; pass a list, a data frame, a dataset or a path"
        ) from None


def _advice(source: Any) -> str | None:
    """Says what is wrong with what could be iterated over but holds no rows, and what to do; None for the rest."""
    match source:
        case Mapping():
            keys = ", ".join(map(repr, source)) or "nothing"
            return f" of {keys}; pass one of its values, a list of such rows, or its columns as a data frame"
        case str() | bytes() | bytearray():
            return f", {source!r:.80}; pass a list with an entry a row"
        case Set():
            return ", which has no order; pass a list"
        case io.IOBase():
            return ", an open file; pass its path"
        case _:
            return None


def _in_python(source: Any) -> Any:
    """Computes a lazy frame of polars, and takes a `datasets.Dataset` out of a format (say, of torch) that it has."""
    if hasattr(source, "collect_schema") and hasattr(source, "collect"):
        return source.collect()
    row_format = getattr(source, "format", None)
    if hasattr(source, "with_format") and isinstance(row_format, dict) and row_format["type"] not in (None, "custom"):
        return source.with_format(None, columns=row_format["columns"])
    return source


def _named_rows(name: str, columns: Iterable[Any], rows: Iterable[Iterable[Any]]) -> Iterator[dict[Any, Any]]:
    names = list(columns)
    if len(set(names)) < len(names):
        raise InputError(f"{name} have two columns of one name (found: {', '.join(map(repr, names))}); rename one")
    return (dict(zip(names, row, strict=True)) for row in rows)


_PLAIN = frozenset({str, int, float, bool, type(None)})


def python_value(value: Any) -> Any:
    """Returns a value of JSON's kinds as Python's own types, its containers copied; anything else as it is.

    Examples are `numpy.str_`, NumPy's numbers, arrays of objects (as data frames hold lists), records and named tuples.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return {python_value(key): python_value(entry) for key, entry in value.items()}
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, np.void) and value.dtype.names:
        return {field: _cell(value[field]) for field in value.dtype.names}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return [python_value(entry) for entry in value] if value.dtype.kind in "OU" and value.ndim else value.copy()
    if hasattr(value, "notna") and hasattr(value, "to_dict"):  # a row that pandas yields
        return python_value(value.astype(object).where(value.notna(), None).to_dict())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {field: _cell(entry) for field, entry in zip(value._fields, value, strict=True)}
    if kind is list or kind is tuple:
        return kind(map(python_value, value))
    return value


def _cell(value: Any) -> Any:
    """A value of a record or of a named tuple, as frames hand out their rows; NaN marks what is missing there."""
    missing = isinstance(value, float) and value != value
    return None if missing else python_value(value)
