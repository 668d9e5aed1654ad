"""Figures of a run: arrays in, SVG text (or PNG bytes) out."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from textrl_env.report.curves import Array, Curve, smooth
from textrl_env.report.drawing import (
    INK,
    MUTED,
    NARROW,
    PALETTE,
    WIDE,
    add_heading,
    apply_settings,
    draw_svg,
    label_end,
    stack_panels,
)
from textrl_env.report.findings import format_number


@dataclass(frozen=True)
class Panel:
    """A panel: its title, its curve, and the name of its colour in `PALETTE`."""

    title: str
    curve: Curve
    colour: str


def draw_over_updates(name: str, panels: Sequence[Panel], *, width: int = WIDE, x_label: str = "PPO update") -> str:
    """Draws stacked panels that share x: thin = every point, bold = running mean, with the mean's last value."""

    def draw(figure: Figure) -> None:
        for axes, panel in zip(stack_panels(figure, len(panels), right=50, whole=True), panels, strict=True):
            add_heading(axes, panel.title, PALETTE[panel.colour])
            _trace(axes, panel.curve, PALETTE[panel.colour])
        figure.axes[-1].set_xlabel(x_label)

    return draw_svg(name, ", ".join(p.title for p in panels), (width, _compute_height(len(panels), width)), draw)


def draw_over_kl(name: str, panels: Sequence[Panel]) -> str:
    """Draws the same against the KL spent: a dot per update, and the running mean as a path from a ring to a disc."""

    def draw(figure: Figure) -> None:
        for axes, panel in zip(stack_panels(figure, len(panels), right=50), panels, strict=True):
            colour, x, y = PALETTE[panel.colour], smooth(panel.curve.x), smooth(panel.curve.y)
            add_heading(axes, panel.title, colour)
            axes.plot(panel.curve.x, panel.curve.y, "o", ms=2.6, mew=0, color=colour, alpha=0.3)
            axes.plot(x, y, color=colour, lw=2.2)
            axes.plot(x[:1], y[:1], "o", ms=7, mfc="none", mec=colour, mew=1.6)
            axes.plot(x[-1:], y[-1:], "o", ms=7, mew=0, color=colour)
            label_end(axes, x[-1], y[-1], colour)
        figure.axes[-1].set_xlabel("KL from the reference (nats)")

    title = ", ".join(p.title for p in panels) + " against the KL from the reference"
    return draw_svg(name, title, (WIDE, _compute_height(len(panels), WIDE)), draw)


def draw_losses(name: str, title: str, train: Curve, heldout: Curve, *, colour: str) -> str:
    """Draws a training loss, and the held-out loss as dashes with dots where it was measured."""

    def draw(figure: Figure) -> None:
        (axes,) = stack_panels(figure, 1, right=50, whole=True)
        add_heading(axes, title, PALETTE[colour])
        if len(train):
            _trace(axes, train, PALETTE[colour], label=not len(heldout))
        if len(heldout):
            axes.plot(heldout.x, heldout.y, "o--", ms=4, lw=1.4, color=INK)
            label_end(axes, heldout.x[-1], heldout.y[-1], INK)
        axes.set_xlabel("step")

    return draw_svg(name, title, (NARROW, _compute_height(1, NARROW)), draw)


def draw_reliability(name: str, points: Sequence[Mapping[str, float]]) -> str:
    """Draws observed frequency against predicted probability, with the number of pairs in each bin underneath."""

    def draw(figure: Figure) -> None:
        colour = PALETTE["proxy"]
        top, bottom = stack_panels(figure, 2, ratios=(3, 1), right=16)
        stated, frequency, count = ([p[k] for p in points] for k in ("predicted", "observed", "count"))
        add_heading(top, "Observed frequency", colour)
        top.plot([0, 1], [0, 1], "--", color=MUTED, lw=1.2)
        top.plot(stated, frequency, "-", color=colour, lw=1.6)
        top.plot(stated, frequency, "o", color=colour, ms=6, mew=0)
        top.set(xlim=(0, 1), ylim=(0, 1.02), yticks=[0, 0.25, 0.5, 0.75, 1])
        gaps = np.diff(sorted(stated))
        bottom.bar(stated, count, width=0.8 * min([0.1, *gaps[gaps > 1e-9]]), color=colour, alpha=0.55)
        for x, n in zip(stated, count, strict=True):
            note = f"{n:,.0f}" if n < 10_000 else f"{n / 1000:,.0f}k"
            bottom.annotate(note, (x, n), (0, 2), textcoords="offset points", ha="center", fontsize=9.5, color=MUTED)
        add_heading(bottom, "Pairs in the bin", MUTED)
        bottom.set(xlabel="Predicted probability", ylim=(0, 1.25 * max(count)), yticks=[])

    return draw_svg(name, "Reliability diagram of the reward model", (WIDE, 430), draw)


def draw_accuracy(name: str, value: float, ceiling: float | None) -> str:
    """Draws a bar from chance: the reward model's accuracy, with chance and the ceiling marked."""

    def draw(figure: Figure) -> None:
        (axes,) = stack_panels(figure, 1, left=14, right=14, top=44, bottom=28)
        low = min(0.5, value) - (0.0 if value >= 0.5 else 0.05)
        axes.barh([0], [value - low], left=low, height=0.5, color=PALETTE["proxy"])
        marks = [(value, f"accuracy {100 * value:.1f}%", PALETTE["proxy"], 0.32, "bottom")]
        if ceiling is not None:
            axes.plot([ceiling, ceiling], [-0.42, 0.42], color=INK, lw=2)
            marks.append((ceiling, f"ceiling {100 * ceiling:.1f}%", INK, 0.72, "bottom"))
        for x, text, colour, y, va in marks:
            side = "right" if x > 0.7 else "left"
            axes.text(x, y, text, color=colour, ha=side, va=va, fontweight="bold")
        axes.grid(False)
        axes.set(xlim=(low, 1), ylim=(-0.45, 0.7), yticks=[])
        axes.set_xticks(ticks := [0.5, 0.6, 0.7, 0.8, 0.9, 1.0], ["chance"] + [f"{100 * t:.0f}%" for t in ticks[1:]])
        axes.get_xticklabels()[0].set_horizontalalignment("left" if low == 0.5 else "center")
        axes.get_xticklabels()[-1].set_horizontalalignment("right")

    return draw_svg(name, "Reward-model accuracy against its ceiling", (WIDE, 130), draw)


def draw_accuracy_by_margin(name: str, points: Sequence[Mapping[str, float]]) -> str:
    """Draws accuracy in bins of how far apart the two completions are, with the number of pairs in each bar."""

    def draw(figure: Figure) -> None:
        (axes,) = stack_panels(figure, 1, right=12, bottom=56)
        add_heading(axes, "Accuracy by margin", PALETTE["proxy"])
        values = [100 * p["accuracy"] for p in points]
        axes.bar(range(len(points)), values, width=0.72, color=PALETTE["proxy"], alpha=0.8)
        axes.axhline(50, color=MUTED, ls="--", lw=1.2)
        for i, v in enumerate(values):
            axes.text(i, v + 1.5, f"{v:.0f}%", ha="center", color=INK, fontsize=11)
        ends = [f"\N{EN DASH}{p['margin_high']:.2g}" if "margin_high" in p else "+" for p in points]
        labels = [f"{p['margin_low']:.2g}{end}\nn {p['count']:,.0f}" for p, end in zip(points, ends, strict=True)]
        axes.set_xticks(range(len(points)), labels, fontsize=10)
        axes.set(ylim=(0, 112), yticks=[0, 50, 100], xlabel="margin between the two completions")

    return draw_svg(name, "Reward-model accuracy by margin", (WIDE, 240), draw)


def draw_components(name: str, terms: Sequence[str], sft: Sequence[float], ppo: Sequence[float]) -> str:
    """Draws SFT and PPO side by side for every component of the gold reward, each bar with its value."""

    def draw(figure: Figure) -> None:
        (axes,) = stack_panels(figure, 1, left=96, right=46, top=28, bottom=28)
        low, high = min(0.0, *sft, *ppo), max(0.0, *sft, *ppo)
        pad = 0.022 * ((high - low) or 1.0)
        for values, colour, shift in ((sft, PALETTE["sft"], -0.2), (ppo, PALETTE["ppo"], 0.2)):
            axes.barh([i + shift for i in range(len(terms))], values, height=0.36, color=colour)
            for i, v in enumerate(values):
                side, at = ("left", v + pad) if v >= 0 else ("right", v - pad)
                axes.text(at, i + shift, format_number(v), ha=side, va="center_baseline", fontsize=11, color=INK)
        names = [t.replace("_", " ") for t in terms]
        axes.set_yticks(range(len(terms)), names, color=INK, parse_math=False, fontsize=12)
        axes.axvline(0, color=MUTED, lw=1)
        axes.grid(False)
        axes.grid(True, axis="x")
        axes.set(xlim=(low - (11 * pad if low < 0 else 0), high + pad), ylim=(len(terms) - 0.45, -0.55))
        axes.text(0, 1.0, "SFT", transform=axes.transAxes, color=PALETTE["sft"], fontweight="bold", va="bottom")
        axes.text(0.13, 1.0, "PPO", transform=axes.transAxes, color=PALETTE["ppo"], fontweight="bold", va="bottom")
        axes.spines["bottom"].set_visible(False)

    return draw_svg(name, "Components of the gold reward, SFT and PPO", (WIDE, 60 + 48 * len(terms)), draw)


def draw_learning_curve(proxy: Curve, gold: Curve, kl: Curve, *, pixels: int = 1200) -> bytes:
    """Draws a PNG with white background, for a README.

    Left: proxy and gold over the updates, each on its own axis, scaled to its range and aligned at the first update.
    Right: the KL from the reference.
    """
    buffer = io.BytesIO()
    with matplotlib.rc_context():
        apply_settings("learning_curve")
        figure = Figure(figsize=(10, 3.6), facecolor="white")
        left, right = figure.subplots(1, 2, width_ratios=(1.45, 1))
        figure.subplots_adjust(left=0.055, right=0.985, top=0.88, bottom=0.15, wspace=0.3)
        scores = [(left, proxy, "proxy", "Proxy score (left axis)", "left")]
        if len(gold):
            twin = left.twinx()
            twin.grid(False)
            twin.spines["bottom"].set_visible(False)
            scores.append((twin, gold, "gold", "Gold score (right axis)", "right"))
        _align_starts([(axes, curve.y) for axes, curve, *_ in scores if len(curve)])
        for axes, curve, colour, title, side in scores:
            _trace(axes, curve, PALETTE[colour], label=False)
            axes.set_title(title, loc="left" if side == "left" else "right", color=PALETTE[colour], **_BOLD)
            axes.tick_params(axis="y", labelcolor=PALETTE[colour], length=0)
        _trace(right, kl, PALETTE["ppo"], label=False)
        right.set_title("KL from the reference (nats)", loc="left", color=PALETTE["ppo"], **_BOLD)
        for axes in (left, right):
            axes.set_xlabel("PPO update")
        figure.savefig(buffer, format="png", dpi=pixels / 10, metadata={"Software": None})
    return buffer.getvalue()


_BOLD: dict[str, Any] = {"fontweight": "bold", "fontsize": 11}


def _align_starts(curves: Sequence[tuple[Axes, Array]]) -> None:
    """Scales each axis to the range of its curve, and puts the starts of the running means at one height."""
    ranges = [(axes, y, float(smooth(y)[0]), max(float(np.ptp(y)), 1e-9)) for axes, y in curves]
    down = max([0.0, *((start - y.min()) / span for _, y, start, span in ranges)]) + 0.06
    up = max([0.0, *((y.max() - start) / span for _, y, start, span in ranges)]) + 0.06
    for axes, _, start, span in ranges:
        axes.set_ylim(start - down * span, start + up * span)


def _trace(axes: Axes, curve: Curve, colour: str, *, label: bool = True) -> None:
    mean = smooth(curve.y)
    axes.plot(curve.x, curve.y, color=colour, lw=0.9, alpha=0.35)
    axes.plot(curve.x, mean, color=colour, lw=2.2)
    if label and len(curve):
        label_end(axes, curve.x[-1], mean[-1], colour)


def _compute_height(rows: int, width: int) -> int:
    return 66 + rows * (150 if width == WIDE else 130)
