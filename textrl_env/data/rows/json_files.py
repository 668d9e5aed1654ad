"""JSON and JSON lines, row by row: duplicate keys, NaN and values in the wrong kind of file are named."""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from textrl_env.data.rows.bad_rows import Fault
from textrl_env.data.rows.text_lines import find_line_fault, numbered_lines
from textrl_env.errors import InputError

_SPACE = " \t\n\r"
N_TRIED = 1000
"""Lines without a row, after which a file is looked at as a whole."""


def _make_object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in values if keys.count(key) > 1)
        raise ValueError(f"key {twice!r:.60} twice in one object")
    return values


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON; write a number, or null for none")


_STRICT = json.JSONDecoder(object_pairs_hook=_make_object, parse_constant=_refuse_constant)
_LENIENT = json.JSONDecoder()


def parse_json(text: str) -> Any:
    """Returns the value of a JSON text, or the `Fault` in it."""
    if fault := find_line_fault(text):
        return Fault(fault)
    try:
        return _STRICT.decode(text)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno} " if error.lineno > 1 else ""
        return Fault(f"not JSON: {error.msg} at {line}column {error.colno}")
    except RecursionError:
        return Fault("not usable JSON: nested too deeply")
    except ValueError as error:  # Python reads no integers of more than 4300 digits.
        return Fault(f"not usable JSON: {error}")


def jsonl_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Yields (place, row) for every line that is not blank.

    Raises:
        InputError: the file is one JSON value over many lines, not a value a line.
    """
    lines = ((f"{path}:{number}", line) for number, line in numbered_lines(path) if line.strip())
    rows = ((where, parse_json(line.rstrip("\r\n"))) for where, line in lines)
    start = []
    for where, row in islice(rows, N_TRIED):
        start.append((where, row))
        if isinstance(row, Mapping):
            break
    if start and not isinstance(start[0][1], Mapping):
        _check_layout(path, has_rows=isinstance(start[-1][1], Mapping))
    yield from chain(start, rows)


def _check_layout(path: Path, *, has_rows: bool) -> None:
    """Raises InputError where the whole file is a list, or objects over several lines and no line has one."""
    text = "".join(line for _, line in numbered_lines(path)).strip()
    if not text.startswith(("[", "{")):
        return
    try:
        value, end = _LENIENT.raw_decode(text)
    except (ValueError, RecursionError):
        return
    if isinstance(value, list) and end == len(text) and any(isinstance(item, Mapping) for item in value):
        raise InputError(f"{path}: holds one JSON list, not an object a line; name it .json")
    if isinstance(value, Mapping) and not has_rows and "\n" in text[:end]:
        raise InputError(
            f"{path}: holds JSON objects over several lines, expected an object a line; rewrite it with: jq -c . FILE"
        )


def json_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Yields (place, row) for every item of a file's list; objects that stand a line each are read, with a warning.

    Raises:
        InputError: the file is neither.
    """
    text = "".join(line for _, line in numbered_lines(path))
    if fault := find_line_fault(text):
        raise InputError(f"{path}: {fault}")
    start = _skip_space(text, 0)
    if text[start : start + 1] == "[":
        yield from _list_items(path, text, start + 1)
        return
    value = parse_json(text)
    first_line = text[start:].splitlines()[0] if text[start:] else ""
    if isinstance(value, Fault) and isinstance(parse_json(first_line), Mapping):
        warnings.warn(f"{path}: holds an object a line and is read so; name it .jsonl", stacklevel=2)
        yield from jsonl_rows(path)
        return
    if isinstance(value, Mapping):
        keys = ", ".join(map(repr, islice(value, 5)))
        raise InputError(
            f"{path}: expected a list of objects, got one object with {keys or 'no keys'}; write the rows as a list, "
            "or an object a line in a file .jsonl"
        )
    raise InputError(f"{path}: expected a list of objects, got {_name(value)}")


def _name(value: Any) -> str:
    return value if isinstance(value, Fault) else "null" if value is None else type(value).__name__


def _list_items(path: Path, text: str, place: int) -> Iterator[tuple[str, Any]]:
    """Yields the items of the list that begins before `place`; each is decoded by itself, so its fault is its own."""
    place = _skip_space(text, place)
    n_items, at_end = 0, text[place : place + 1] == "]"
    while not at_end:
        n_items += 1
        where = f"{path}: item {n_items}"
        try:
            row, end = _STRICT.raw_decode(text, place)
        except json.JSONDecodeError as error:
            raise _describe_damage(path, error) from None
        except RecursionError:
            raise InputError(f"{where}: not usable JSON: nested too deeply") from None
        except ValueError as error:
            row, end = Fault(f"not usable JSON: {error}"), _find_end(text, place, where)
        yield where, row
        place = _skip_space(text, end)
        at_end = text[place : place + 1] == "]"
        if not at_end:
            if text[place : place + 1] != ",":
                raise _describe_damage(path, json.JSONDecodeError("Expecting ',' or ']'", text, place))
            place = _skip_space(text, place + 1)
    if (end := _skip_space(text, place + 1)) < len(text):
        raise _describe_damage(path, json.JSONDecodeError("Extra data", text, end))


def _describe_damage(path: Path, error: json.JSONDecodeError) -> InputError:
    place = f"line {error.lineno} column {error.colno}"
    return InputError(f"{path}: expected a list of objects, got not JSON: {error.msg} at {place}")


def _find_end(text: str, place: int, where: str) -> int:
    try:
        return _LENIENT.raw_decode(text, place)[1]
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not usable JSON: {error}") from None


def _skip_space(text: str, place: int) -> int:
    while place < len(text) and text[place] in _SPACE:
        place += 1
    return place
