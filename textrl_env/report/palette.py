"""Colours and typography of the figures, as plain data."""

from typing import Any

PALETTE = {
    "ink": "#2b333d",
    "muted": "#66707c",
    "grid": "#e3e6ea",
    "sft": "#6b7785",
    "ppo": "#0b6cb0",
    "proxy": "#9b3f8c",
    "gold": "#a66a00",
}
"""Name -> colour on white. SFT/PPO and proxy/gold differ in lightness or in blue-yellow, kept by colour-blind eyes."""

INK, MUTED = PALETTE["ink"], PALETTE["muted"]

RC: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 12,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 12,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.xmargin": 0.02,
    "axes.ymargin": 0.08,
    "grid.color": PALETTE["grid"],
    "grid.linewidth": 1.0,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "ytick.major.size": 0,
    "xtick.major.size": 3,
    "axes.formatter.limits": (-4, 5),
    "lines.solid_capstyle": "round",
    "lines.solid_joinstyle": "round",
}
"""matplotlib settings, on top of its defaults. SVG text stays text: the page chooses the font."""
