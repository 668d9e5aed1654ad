"""Drawing of figures: colours, axes with their margins, labels, and matplotlib's SVG made fit to stand in a page.

Every colour of `PALETTE` becomes a CSS variable in the SVG, so the page recolours its figures for dark mode; text stays
text and takes the page's font. A figure is about as wide as a phone, so its labels keep their size on one.
"""

import io
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from textrl_env.report.findings import format_number

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

WIDE, NARROW = 400, 320
"""Widths of figures, in SVG units."""


def label_end(axes: Axes, x: float, y: float, colour: str) -> None:
    """Writes the value y beside the point (x, y), the last of a curve."""
    axes.annotate(
        format_number(y),
        (x, y),
        (7, 0),
        textcoords="offset points",
        va="center_baseline",
        color=colour,
        annotation_clip=False,
        fontweight="bold",
    )


def add_heading(axes: Axes, title: str, colour: str) -> None:
    """Puts a panel's title above its left end."""
    axes.set_title(title, loc="left", color=colour, fontweight="bold", fontsize=12, pad=7, parse_math=False)


def stack_panels(
    figure: Figure,
    rows: int,
    *,
    ratios: Sequence[float] = (),
    left: int = 46,
    right: int = 14,
    top: int = 26,
    bottom: int = 40,
    whole: bool = False,
) -> list[Axes]:
    """Makes panels under each other that share x.

    Args:
        figure: gets the panels.
        rows: number of panels.
        ratios: their heights; equal if empty.
        left: margin in SVG units, so that figures line up on the page; `right`, `top` and `bottom` likewise.
        right: see `left`.
        top: see `left`.
        bottom: see `left`.
        whole: ticks at whole numbers of x only.
    """
    width, height = 72 * figure.get_size_inches()
    panels = figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=ratios or [1] * rows)[:, 0]
    figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height, hspace=0.28)
    for axes in panels:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=whole))
    return list(panels)


def apply_settings(salt: str) -> None:
    """Sets matplotlib up for the next figure; `salt` makes the ids in its SVG."""
    matplotlib.rcdefaults()  # not the user's matplotlibrc: the same run gives the same bytes everywhere
    settings: Any = {**RC, "svg.hashsalt": salt}
    matplotlib.rcParams.update(settings)


def draw_svg(name: str, title: str, size: tuple[int, int], draw: Callable[[Figure], None]) -> str:
    """Draws at `size` (SVG units); returns an `<svg>` element fit to stand beside others in one page."""
    buffer = io.StringIO()
    with matplotlib.rc_context():
        apply_settings(name)
        figure = Figure(figsize=(size[0] / 72, size[1] / 72))
        draw(figure)
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    # ids are unique within one figure only
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    for colour, value in PALETTE.items():
        text = text.replace(value, f"var(--{colour})")
    label = escape(title, quote=True)
    return re.sub(r"<svg [^>]*>", lambda match: _write_open_tag(match.group(), label), text, count=1)


def _write_open_tag(tag: str, label: str) -> str:
    box = re.search(r'viewBox="[^"]*"', tag)
    assert box is not None
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {box.group()} role="img" aria-label="{label}" {spaces}>'
