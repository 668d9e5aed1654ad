"""Learning curves as arrays: pick a column, smooth it, find where it peaked."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textrl_env.report.run_files import Row

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """One measured quantity: `y` against `x`, both of shape (N,)."""

    x: Array
    y: Array

    def __len__(self) -> int:
        return len(self.x)


def curve(rows: Sequence[Row], key: str, x_key: str) -> Curve:
    """The rows that have `key`, against `x_key`; a row without `x_key` counts by its place in the file, from 1."""
    found = [(float(row.get(x_key, i)), float(row[key])) for i, row in enumerate(rows, start=1) if key in row]
    pairs = np.array(found, dtype=np.float64).reshape(-1, 2)
    return Curve(x=pairs[:, 0], y=pairs[:, 1])


def against(rows: Sequence[Row], key: str, x_key: str) -> Curve:
    """The rows that have both `key` and `x_key`, in the order of training."""
    return curve([row for row in rows if x_key in row], key, x_key)


def window(n: int) -> int:
    """Width of the running mean for n points: a twentieth of the run, odd, at least 1."""
    return max(1, n // 20) // 2 * 2 + 1


def smooth(y: Array) -> Array:
    """Centred running mean over `window(N)` points, shape (N,); near the ends over the points that exist."""
    half = window(len(y)) // 2
    total = np.concatenate([[0.0], np.cumsum(y)])
    index = np.arange(len(y))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(y))
    return np.asarray((total[high] - total[low]) / (high - low), dtype=np.float64)


def noise(y: Array) -> float:
    """Standard error of the running mean, estimated from what it smoothed away."""
    return float(np.std(y - smooth(y)) / np.sqrt(window(len(y)))) if len(y) else 0.0
