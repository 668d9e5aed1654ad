"""Gold at equal KL: curves of an entrant's points, read off at the same nats for every seed."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Rows = Sequence[dict[str, Any]]


def at_kl(rows: Rows, entrant: str, kl: Sequence[float], *, score: str = "gold") -> np.ndarray:
    """Reads a score of an entrant off at K amounts of KL: (seeds, K); NaN beyond its farthest point.

    Between points, and between the SFT model and the first, it is interpolated linearly in √KL, in which over-
    optimisation curves are smooth and near 0 straight (Gao et al. 2023).
    """
    curves = []
    for seed in sorted({row["seed"] for row in rows if row["entrant"] == entrant}):
        (start,) = (row for row in rows if row["entrant"] == "SFT" and row["seed"] == seed)
        points = [row for row in rows if row["entrant"] == entrant and row["seed"] == seed]
        pairs = sorted((row["kl"], row[score]) for row in points if row["kl"] > 0)
        x, y = np.array([(0.0, start[score]), *pairs]).T
        curves.append(np.interp(np.sqrt(kl), np.sqrt(x), y, right=np.nan))
    return np.array(curves)


def interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes the mean over S seeds, 2 or more, and half its 95 % interval (Student's t): (S, ...) -> (...), (...)."""
    from scipy import stats  # Not needed for --help.

    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values, axis=0)
    return values.mean(axis=0), half


def by_setting(rows: Rows, entrant: str) -> list[dict[str, np.ndarray]]:
    """Lists the settings of an entrant, from little KL to much: `kl`, `gold` and `proxy` of its seeds, (S,) each."""
    settings: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        if row["entrant"] == entrant:
            settings.setdefault(row["setting"], []).append(row)
    n_seeds = max(map(len, settings.values()), default=0)
    # A setting of the frontier that only some seeds' samples support is not an average of all.
    complete = [group for group in settings.values() if len(group) == n_seeds]
    points = [{name: np.array([row[name] for row in group]) for name in ("kl", "gold", "proxy")} for group in complete]
    return sorted(points, key=lambda point: float(point["kl"].mean()))
