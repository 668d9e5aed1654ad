"""The figure of the tournament: gold and proxy against the KL that was spent."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from desk.compare import Rows, by_setting, interval
from matplotlib.axes import Axes

# Okabe and Ito's colours, which colour-blind eyes tell apart.
COLOURS = {
    "best-of-n": "#000000",
    "DPO": "#e69f00",
    "rejection sampling": "#009e73",
    "RLOO": "#cc79a7",
    "GRPO": "#d55e00",
    "PPO": "#0072b2",
}
MUTED = "#66707c"


def draw(rows: Rows, path: Path) -> None:
    """A line an entrant from the SFT model over its settings: means over seeds, bars are 95 % intervals of them."""
    figure, panels = plt.subplots(1, 2, figsize=(12, 5.4), layout="constrained")
    for axes, score in zip(panels, ("gold", "proxy"), strict=True):
        (start,) = by_setting(rows, "SFT")
        origin = {"kl": 0.0, "y": float(start[score].mean())}
        for entrant, colour in COLOURS.items():
            _line(axes, rows, entrant, score, origin, colour=colour)
        optimum = by_setting(rows, "frontier")
        if optimum:
            x = [0.0, *(float(point["kl"].mean()) for point in optimum)]
            y = [origin["y"], *(float(point[score].mean()) for point in optimum)]
            axes.plot(x, y, color=MUTED, linestyle="--", linewidth=1.4, label="optimum for the proxy")
        axes.plot([0], [origin["y"]], "o", markersize=8, color=MUTED, label="SFT")
        axes.set_xscale("function", functions=(lambda kl: np.sqrt(np.maximum(kl, 0)), np.square))
        axes.set_xticks([0, 0.5, 1, 2, 4, 6, 8, 10])
        axes.set_xlim(left=0)
        axes.set_title(f"{score} score", fontsize=12, loc="left")
        axes.set_xlabel("KL to the SFT model, nats per completion")
        axes.grid(axis="y", color="#e3e6ea")
        axes.spines[["top", "right"]].set_visible(False)
    # Above both: inside, it would cover intervals.
    figure.legend(*panels[0].get_legend_handles_labels(), frameon=False, loc="outside upper center", ncols=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _line(axes: Axes, rows: Rows, entrant: str, score: str, origin: dict[str, float], *, colour: str) -> None:
    points = by_setting(rows, entrant)
    if not points:
        return
    kl: list[Any] = [0.0]
    y, spread = [origin["y"]], [0.0]
    for point in points:
        kl.append(point["kl"].mean())
        mean, half = interval(point[score]) if len(point[score]) > 1 else (point[score][0], 0.0)
        y.append(float(mean))
        spread.append(float(half))
    axes.plot(kl, y, color=colour, linewidth=1.6)
    axes.errorbar(kl[1:], y[1:], yerr=spread[1:], color=colour, fmt="o", markersize=4, capsize=2, label=entrant)
