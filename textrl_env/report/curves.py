"""Learning curves as arrays: pick a column, smooth it, say whether the reward was hacked."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textrl_env.report.findings import format_number
from textrl_env.report.run_files import Row

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A measured quantity: `y` against `x`, both of shape (N,)."""

    x: Array
    y: Array

    def __len__(self) -> int:
        return len(self.x)


def extract_curve(rows: Sequence[Row], key: str, x_key: str) -> Curve:
    """Takes the rows that have `key`, against `x_key`; a row without `x_key` counts by its place, from 1."""
    values = [(float(row.get(x_key, i)), float(row[key])) for i, row in enumerate(rows, start=1) if key in row]
    pairs = np.array(values, dtype=np.float64).reshape(-1, 2)
    return Curve(x=pairs[:, 0], y=pairs[:, 1])


def extract_curve_against(rows: Sequence[Row], key: str, x_key: str) -> Curve:
    """Takes the rows that have both `key` and `x_key`, in the order of training."""
    return extract_curve([row for row in rows if x_key in row], key, x_key)


def compute_window(n: int) -> int:
    """Returns the width of the running mean for n points: a twentieth of the run, odd, at least 1."""
    return max(1, n // 20) // 2 * 2 + 1


def smooth(y: Array) -> Array:
    """Computes the centred running mean, (N,), over `compute_window(N)` points, or fewer near the ends."""
    half = compute_window(len(y)) // 2
    total = np.concatenate([[0.0], np.cumsum(y)])
    index = np.arange(len(y))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(y))
    return np.asarray((total[high] - total[low]) / (high - low), dtype=np.float64)


def estimate_noise(y: Array) -> float:
    """Returns the standard error of the running mean, estimated from what it smoothed away."""
    return float(np.std(y - smooth(y)) / np.sqrt(compute_window(len(y)))) if len(y) else 0.0


def describe_hacking(proxy: Curve, gold: Curve) -> str:
    """Compares where gold was best during training with where it ended; empty where there is too little to say."""
    if len(gold) < 3 or len(proxy) < 3:
        return ""
    g, p = smooth(gold.y), smooth(proxy.y)
    best = int(np.argmax(g))
    p_best = float(np.interp(gold.x[best], proxy.x, p))
    fell = float(g[best] - g[-1])
    clear = max(0.1 * float(np.ptp(g)), 3 * estimate_noise(gold.y))
    where = f"The gold score was best near update {gold.x[best]:,.0f} ({format_number(g[best])})"
    first, last = format_number(g[0]), format_number(g[-1])
    if fell > clear and p[-1] > p_best + 3 * estimate_noise(proxy.y):
        rise = f"from {format_number(p_best)} to {format_number(p[-1])}"
        return (
            f"{where} and ended at {last}, while the proxy rose on {rise}: "
            "the mark of reward hacking. Stopping near that update would have scored higher by the truth; a larger KL "
            "coefficient is the other usual remedy."
        )
    if fell > clear:
        return (
            f"{where} and ended at {last}, but the proxy did not rise meanwhile: before suspecting reward "
            "hacking, look at the health of the optimiser below."
        )
    proxy_rose = p[-1] - p[0] > 3 * estimate_noise(proxy.y)
    if g[-1] - g[0] > clear:
        start = "Proxy and gold rose together, and gold" if proxy_rose else "Gold rose, and"
        return f"{start} ended at or near its best ({last} of {format_number(g[best])}): no sign of reward hacking."
    if proxy_rose:
        return (
            f"The proxy rose from {format_number(p[0], p[-1])} to {format_number(p[-1], p[0])} while gold hardly moved "
            f"(from {first} to {last}): PPO found what the reward model likes, but little of what the truth rewards."
        )
    return f"Neither proxy nor gold rose clearly (gold from {first} to {last}): nothing much was learned."
