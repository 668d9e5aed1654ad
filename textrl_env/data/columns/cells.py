"""Types of cells: a number, a flag or a list is itself or the text of it, and a missing one is null or empty.

One rule for every format: CSV knows nothing but text, and JSON from elsewhere often has "0.8" where 0.8 is meant.
"""

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from numbers import Real
from typing import Any

from textrl_env.errors import InputError

_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def is_given(value: Any) -> bool:
    """Returns False for null and for blank text: what stands in an optional column where there is no value."""
    return not (value is None or (isinstance(value, str) and not value.strip()))


def parse_number(value: Any) -> float:
    """Parses a number or the text of one, also with a decimal comma; NaN where it is none."""
    if isinstance(value, str):
        text = value.strip()
        # 1,000 is a thousand to some and one to others.
        if re.fullmatch(r"[+-]?\d*,(\d{1,2}|\d{4,})", text):
            text = text.replace(",", ".")
        try:
            return math.nan if "_" in text else float(text)
        except ValueError:
            return math.nan
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):  # numpy's
        return math.nan
    try:
        return float(value) if isinstance(value, Real | Decimal) else math.nan
    except (ValueError, OverflowError):
        return math.nan


def read_number(row: Mapping[str, Any], column: str) -> float | None:
    """Returns the number in an optional column, None where it is not given; InputError where it is none."""
    value = row.get(column)
    if not is_given(value):
        return None
    number = parse_number(value)
    if not math.isfinite(number):
        raise InputError(f"'{column}' must be a number, got {value!r:.100}")
    return number


def read_flag(row: Mapping[str, Any], column: str) -> bool | None:
    """Returns the truth in an optional column (true, yes, 1), None where it is not given; InputError elsewhere."""
    value = row.get(column)
    if not is_given(value):
        return None
    # A text "False" is true in Python.
    flag = _FLAGS.get(str(value).strip().lower()) if isinstance(value, str) else None
    if not isinstance(value, str) and (type(value).__name__ in ("bool", "bool_") or parse_number(value) in (0, 1)):
        flag = bool(value)
    if flag is None:
        raise InputError(f"'{column}' must be true or false, got {value!r:.100}")
    return flag


def read_list(row: Mapping[str, Any], column: str) -> list[Any] | None:
    """Returns the list in an optional column, or the JSON text of one; None where it is not given.

    InputError where it is something else.
    """
    value: Any = row.get(column)
    if not is_given(value):
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = row[column]
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        raise InputError(f"'{column}' must be a list, got {value!r:.100}")
    return list(value)
