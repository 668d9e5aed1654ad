"""What reward functions return, read: one real number a completion, of whatever type, or None."""

from collections.abc import Iterable, Mapping, Sequence, Set, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textrl_env.errors import InputError

LARGEST_SCORE = 1e15
"""Rollouts hold float32 and square what they hold (value losses, variances); sums of such squares must be finite."""


@dataclass(frozen=True)
class ScoredCompletions:
    """B completions that are scored, for messages.

    Attributes:
        prompt_indices: B rows of the dataset.
        completions: B texts, or lists with the assistant's message.
    """

    prompt_indices: Sequence[int]
    completions: Sequence[Any]

    def __len__(self) -> int:
        return len(self.completions)

    def place(self, index: int) -> str:
        """Names a completion."""
        return f"prompt {self.prompt_indices[index]}, completion {self.completions[index]!r:.200}"


def read_scores(label: str, scores: Any, completions: ScoredCompletions) -> npt.NDArray[np.float64]:
    """Reads what a reward function returned: (B,) finite numbers, NaN where it returned None.

    Args:
        label: the function's name.
        scores: B numbers of any type (of Python, NumPy, torch, …) in a list, an array, a tensor, a series.
        completions: that they are for.

    Raises:
        InputError: another count or shape; an entry that is no real number, not finite or beyond `LARGEST_SCORE`.
    """
    entries = _entries(label, scores, completions)
    values = np.full(len(completions), np.nan)
    for index, entry in enumerate(entries):
        if entry is None or entry is np.ma.masked:
            continue
        try:
            plain = type(entry) is float and abs(entry) <= LARGEST_SCORE
            values[index] = entry if plain else real_number(entry)
        except ValueError as fault:
            raise InputError(
                f"reward function {label} returned {entry!r:.80} for {completions.place(index)}; {fault}"
            ) from None
    return values


def _entries(label: str, scores: Any, completions: ScoredCompletions) -> list[Any]:
    """The B entries of a list, array, tensor or series."""
    n = len(completions)
    demand = f"reward function {label} must return {n} numbers, one per completion"
    first = f"(first: {completions.place(0)})" if n else ""
    if scores is None:
        raise InputError(f"{demand}, got None; is a `return` missing? {first}")
    if isinstance(scores, str | bytes | Mapping | Set) or not isinstance(scores, Iterable):
        raise InputError(f"{demand}, got {type(scores).__name__} {scores!r:.80} {first}")
    shape = getattr(scores, "shape", None)
    if shape is not None:
        if tuple(shape) != (n,):
            advice = "; drop its last axis: [:, 0]" if n > 1 and tuple(shape) == (n, 1) else ""
            raise InputError(f"{demand}, got shape {tuple(shape)}{advice} {first}")
        if getattr(getattr(scores, "dtype", None), "kind", "") in ("m", "M"):
            raise InputError(f"{demand}, got times {scores!r:.80} {first}")
    elif isinstance(scores, Sized) and len(scores) != n:
        raise InputError(f"{demand}, got {len(scores)} {first}")
    try:
        return scores.tolist() if shape is not None and hasattr(scores, "tolist") else list(scores)
    except Exception as error:  # a tensor without values ("meta"), a sparse one
        raise InputError(f"{demand}, got a {type(scores).__name__} that has no list: {error} {first}") from error


def real_number(value: Any) -> float:
    """Returns a score or a weight as a float, finite and of moderate size; ValueError says what is wrong with it."""
    if getattr(value, "shape", ()) or isinstance(value, list | tuple):
        raise ValueError("one number was expected (of rewards token by token, return the sum)")
    if hasattr(value, "dtype") and hasattr(value, "item") and getattr(value.dtype, "kind", "") not in ("m", "M"):
        value = value.item()
    try:
        # Text has no __float__, but float() parses it; NumPy's complex numbers have one, which drops a part.
        if isinstance(value, str | bytes | bytearray | memoryview | complex | np.complexfloating):
            raise TypeError
        number = float(value)
    except OverflowError:
        number = np.inf
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"a real number was expected, not a {type(value).__name__}") from None
    if not abs(number) <= LARGEST_SCORE:
        raise ValueError(
            f"it must be finite and at most {LARGEST_SCORE:g} in magnitude, since rollouts hold float32 and square it "
            "(None says that a function does not apply to a completion)"
        )
    return number
