"""Gold at equal KL: curves of an entrant's points, read off at the same nats for every seed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

Rows = Sequence[dict[str, Any]]


def at_kl(rows: Rows, entrant: str, kl: Sequence[float], *, score: str = "gold") -> np.ndarray:
    """(seeds, K) of a score of an entrant at K amounts of KL; NaN beyond its farthest point.

    Between points, and between the SFT model and the first, it is interpolated linearly in √KL, in which over-
    optimisation curves are smooth and near 0 straight (Gao et al. 2023).
    """
    found = []
    for seed in sorted({row["seed"] for row in rows if row["entrant"] == entrant}):
        (start,) = (row for row in rows if row["entrant"] == "SFT" and row["seed"] == seed)
        own = [row for row in rows if row["entrant"] == entrant and row["seed"] == seed]
        pairs = sorted((row["kl"], row[score]) for row in own if row["kl"] > 0)
        x, y = np.array([(0.0, start[score]), *pairs]).T
        found.append(np.interp(np.sqrt(kl), np.sqrt(x), y, right=np.nan))
    return np.array(found)


def interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the seeds and half the 95 % interval of it (Student's t): (S, ...) -> (...), (...); S at least 2."""
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values, axis=0)
    return values.mean(axis=0), half


def by_setting(rows: Rows, entrant: str) -> list[dict[str, np.ndarray]]:
    """Every setting of an entrant, from little KL to much: `kl`, `gold` and `proxy` of its seeds, (S,) each."""
    settings: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        if row["entrant"] == entrant:
            settings.setdefault(row["setting"], []).append(row)
    most = max((len(found) for found in settings.values()), default=0)
    # A setting of the frontier that only some seeds' samples support is not an average of all.
    whole = [found for found in settings.values() if len(found) == most]
    points = [{name: np.array([row[name] for row in found]) for name in ("kl", "gold", "proxy")} for found in whole]
    return sorted(points, key=lambda point: float(point["kl"].mean()))
