"""What all figures share: axes with their margins, labels, and matplotlib's SVG made fit to stand in a page.

Every colour of `PALETTE` becomes a CSS variable in the SVG, so the page recolours its figures for dark mode; text stays
text and takes the page's font. A figure is about as wide as a phone, so its labels keep their size on one.
"""

import io
import re
from collections.abc import Sequence
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from textrl_env.report.findings import shown
from textrl_env.report.palette import PALETTE, RC

WIDE, NARROW = 400, 320


def end_value(axes: Axes, x: float, y: float, colour: str) -> None:
    axes.annotate(
        shown(y), (x, y), (7, 0), textcoords="offset points", va="center_baseline", color=colour, annotation_clip=False,
        fontweight="bold",
    )  # fmt: skip


def heading(axes: Axes, title: str, colour: str) -> None:
    axes.set_title(title, loc="left", color=colour, fontweight="bold", fontsize=12, pad=7, parse_math=False)


def stack(
    figure: Figure, rows: int, *, ratios: Sequence[float] = (), left: int = 46, right: int = 14, top: int = 26,
    bottom: int = 40, whole: bool = False,
) -> list[Axes]:  # fmt: skip
    """Panels under each other that share x, with margins in SVG units so that figures line up on the page."""
    width, height = 72 * figure.get_size_inches()
    panels = figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=ratios or [1] * rows)[:, 0]
    figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height, hspace=0.28)
    for axes in panels:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=whole))
    return list(panels)


def settings(salt: str) -> None:
    matplotlib.rcdefaults()  # not the user's matplotlibrc: the same run gives the same bytes everywhere
    settings: Any = {**RC, "svg.hashsalt": salt}
    matplotlib.rcParams.update(settings)


def svg(name: str, title: str, size: tuple[int, int], draw: Any) -> str:
    """Draw at `size` (SVG units) and return an `<svg>` element fit to stand beside others in one page."""
    buffer = io.StringIO()
    with matplotlib.rc_context():
        settings(name)
        figure = Figure(figsize=(size[0] / 72, size[1] / 72))
        draw(figure)
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    # ids are unique within one figure only
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    for colour, value in PALETTE.items():
        text = text.replace(value, f"var(--{colour})")
    label = escape(title, quote=True)
    return re.sub(r"<svg [^>]*>", lambda m: _open(m.group(), label), text, count=1)


def _open(tag: str, label: str) -> str:
    box = re.search(r'viewBox="[^"]*"', tag)
    assert box is not None
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {box.group()} role="img" aria-label="{label}" {spaces}>'
