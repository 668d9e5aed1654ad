"""Errors that a user can put right: one exception type whose message is the whole interface, and checks of options.

Every number that a user gives passes one of the checks: it is a number, finite even in single precision, in which
models compute, and in its range.
"""

import operator
from numbers import Integral, Real
from typing import Any

from gymnasium.error import ClosedEnvironmentError

LARGEST_NUMBER = 3.4028234663852886e38
"""The largest number of single precision; beyond it a model computes with infinity."""
LARGEST_COUNT = 2**31 - 1
"""The most of anything that is counted, and the largest size; more overflows somewhere below."""
LARGEST_SEED = 2**32 - 1
"""The largest seed that every generator takes: Python's, NumPy's old and new ones, and torch's."""


class InputError(ValueError):
    """Bad input: a file, a row, an option or a function the user gave.

    The message says what was expected, what came, where (file, row, option) and what to do. The command line prints
    it without a traceback; library callers may catch it as a `ValueError`.
    """


class InputTypeError(InputError, TypeError):
    """Bad input of another type than expected, for callers that catch a `TypeError` there, as Gymnasium's do."""


class ClosedError(InputError, ClosedEnvironmentError):
    """A call of an environment that was closed."""


def require_at_least(minimum: float, **options: float) -> None:
    """Raises InputError that names the first option that is no finite number of at least `minimum`."""
    for name, value in options.items():
        _require_number(name, value)
        if not value >= minimum:
            raise InputError(f"{name} must be at least {minimum}, got {_show(value)}")
        _require_finite(name, value)


def require_above(bound: float, **options: float) -> None:
    """Raises InputError that names the first option that is no finite number above `bound`."""
    for name, value in options.items():
        _require_number(name, value)
        if not value > bound:
            raise InputError(f"{name} must be above {bound}, got {_show(value)}")
        _require_finite(name, value)


def require_within(interval: str, **options: float) -> None:
    """Raises InputError that names the first option outside an interval such as "(0, 1]"."""
    low, high = map(float, interval[1:-1].split(","))
    for name, value in options.items():
        _require_number(name, value)
        above = value > low or (interval[0] == "[" and value == low)
        below = value < high or (interval[-1] == "]" and value == high)
        if not (above and below):
            raise InputError(f"{name} must be in {interval}, got {_show(value)}")


def require_count(minimum: int, **options: int) -> None:
    """Raises InputError that names the first option that is no whole number from `minimum` to `LARGEST_COUNT`."""
    for name, value in options.items():
        _require_number(name, value)
        if not value >= minimum:
            raise InputError(f"{name} must be at least {minimum}, got {_show(value)}")
        if not isinstance(value, Integral):
            raise InputError(f"{name} must be a whole number, got {_show(value)}")
        if value > LARGEST_COUNT:
            raise InputError(f"{name} must be at most {LARGEST_COUNT}, got {_show(value)}")


def require_seed(seed: int, *, name: str = "seed") -> int:
    """Returns a seed that every generator takes, a whole number from 0 to 2**32 - 1; else raises InputError."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= seed <= LARGEST_SEED:
        raise InputError(f"{name} must be a whole number from 0 to {LARGEST_SEED} (2**32 - 1), got {_show(seed)}")
    return int(seed)


def require_token_ids(vocab_size: int, **options: Any) -> list[int]:
    """Returns the ids of an option, a list or array of whole numbers in [0, vocab_size); else raises InputError."""
    ((name, tokens),) = options.items()
    try:
        entries = None if isinstance(tokens, str | bytes) else list(tokens)
    except TypeError:
        entries = None
    if entries is None:
        raise InputError(f"{name} must be a list of token ids, got {_show(tokens)}")
    for entry in entries:
        if not 0 <= _index(name, entry) < vocab_size:
            raise InputError(f"{name} holds {_show(entry)}; token ids are in [0, {vocab_size})")
    return [int(entry) for entry in entries]


def _index(name: str, entry: Any) -> int:
    """A whole number of any type, a tensor's entry too; text, truth values and fractions are none."""
    try:
        if isinstance(entry, bool) or "bool" in str(getattr(entry, "dtype", "")):
            raise TypeError
        return operator.index(entry)
    except TypeError:
        raise InputError(f"{name} holds {_show(entry)}; token ids are whole numbers") from None


def shift_seed(seed: int, offset: int) -> int:
    """Returns the seed that lies `offset` after another; after the largest comes 0."""
    return (seed + offset) % (LARGEST_SEED + 1)


def _require_number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"{name} must be a number, got {_show(value)}")


def _require_finite(name: str, value: float) -> None:
    if not abs(value) <= LARGEST_NUMBER:
        raise InputError(f"{name} must be finite, and at most 3.4e38 (single precision), got {_show(value)}")


def _show(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 128:
        return f"a number of {value.bit_length()} bits"  # Python refuses to write very long ones.
    return str(value) if isinstance(value, Real) else f"{value!r:.100}"
