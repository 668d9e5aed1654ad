"""Files of the report on raters: its numbers as JSON, and a figure of reliability and agreement."""

import io
import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from textrl_env.files import write_bytes, write_text
from textrl_env.reward_models.feedback.raters.report import CARELESS_BELOW, RaterReport

COLOURS = {"": "#0b6cb0", "careless": "#a66a00", "adversarial": "#9b3f8c"}
"""A colour by verdict; they differ in lightness, too."""
INK, MUTED, GRID = "#2b333d", "#66707c", "#e3e6ea"
MAX_NAMES = 40
"""With more raters, no names stand beside them."""


def save_rater_report(report: RaterReport, folder: str | Path) -> tuple[Path, Path]:
    """Writes raters.json and raters.png into a folder, made if it is not there; returns the two paths."""
    figures, picture = Path(folder) / "raters.json", Path(folder) / "raters.png"
    write_text(figures, json.dumps(report.as_dict(), indent=1, allow_nan=False) + "\n")
    return figures, write_bytes(picture, draw_rater_report(report))


def draw_rater_report(report: RaterReport) -> bytes:
    """Draws every rater's reliability and the agreement of all, with intervals: PNG on white, 1100 pixels wide."""
    n = len(report.raters)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # not the user's matplotlibrc
        height = 1.6 + 0.22 * n if n <= MAX_NAMES else 5.0
        figure = Figure(figsize=(11, height), facecolor="white", layout="constrained")
        raters, agreement = figure.subplots(1, 2, width_ratios=(2.2, 1))
        _draw_reliability(raters, report)
        _draw_agreement(agreement, report)
        for axes, title in (
            (raters, "Reliability of each rater, 95 % intervals"),
            (agreement, "Agreement, 95 % intervals"),
        ):
            axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
            axes.spines[["top", "right", "left"]].set_visible(False)
            axes.tick_params(axis="y", length=0, labelcolor=INK)
            axes.grid(axis="x", color=GRID)
            axes.set_axisbelow(True)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()


def _draw_reliability(axes: Axes, report: RaterReport) -> None:
    verdicts = np.array([rater.verdict for rater in report.raters])
    middle, low, high = (np.array([getattr(r, k) for r in report.raters]) for k in ("reliability", "low", "high"))
    height = np.arange(len(verdicts))
    size = {"lw": 1.6, "ms": 6.0} if len(verdicts) <= MAX_NAMES else {"lw": 0.4, "ms": 1.5}
    for verdict, colour in COLOURS.items():
        rows = verdicts == verdict
        if rows.any():
            axes.hlines(height[rows], low[rows], high[rows], color=colour, lw=size["lw"], alpha=0.6)
            label = f"{verdict or 'no objection'} ({rows.sum()})"
            axes.plot(middle[rows], height[rows], "o", color=colour, ms=size["ms"], mew=0, label=label)
    for x, text in ((0.5, "does not look"), (CARELESS_BELOW, "careless below")):
        axes.axvline(x, color=MUTED, lw=1, ls="--")
        place: dict[str, Any] = {
            "xycoords": ("data", "axes fraction"),
            "textcoords": "offset points",
            "ha": "right",
            "va": "top",
        }
        axes.annotate(text, (x, 1), (-3, -4), rotation=90, color=MUTED, fontsize=9, **place)
    axes.set(xlim=(0, 1), xlabel="probability that an answer says what the rater saw")
    axes.set_ylim(-1, len(verdicts))
    names = [rater.annotator for rater in report.raters] if len(verdicts) <= MAX_NAMES else []
    axes.set_yticks(height[: len(names)], names, fontsize=9, parse_math=False)
    axes.set_ylabel("" if names else f"{len(verdicts)} raters", color=INK)
    axes.legend(frameon=False, fontsize=9, loc="upper left")


def _draw_agreement(axes: Axes, report: RaterReport) -> None:
    for height, line in enumerate(reversed(report.agreement)):
        axes.hlines(height, line.low, line.high, color=COLOURS[""], lw=2, alpha=0.6)
        axes.plot([line.value], [height], "o", color=COLOURS[""], ms=7, mew=0)
        place: dict[str, Any] = {"textcoords": "offset points", "ha": "center"}
        value = f"{round(line.value, 2) + 0.0:.2f}"
        axes.annotate(value, (line.value, height), (0, 7), color=INK, fontsize=9, **place)
    axes.axvline(0, color=MUTED, lw=1)
    axes.set_yticks(
        range(len(report.agreement)), [line.name.replace(", ", "\n") for line in reversed(report.agreement)]
    )
    ends = [value for line in report.agreement for value in (line.low, line.high) if np.isfinite(value)]
    axes.set(xlim=(min([-0.12, *ends]), 1), ylim=(-0.6, len(report.agreement) - 0.4))
    axes.set_xlabel("0: by chance, 1: perfect")
