"""Figures of a reward model's report card: parts of `report_card.json` in, SVG text out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from textrl_env.report.drawing import INK, MUTED, PALETTE, WIDE, add_heading, draw_svg, stack_panels

Part = Mapping[str, Any]
PROXY, GOLD, PEOPLE = PALETTE["proxy"], PALETTE["gold"], PALETTE["ppo"]
MAX_NAME = 26
"""Characters of a slice's name beside its dot."""


def draw_reliability(name: str, bins: Sequence[Part]) -> str:
    """Draws observed frequency against stated probability, over the range in which a calibrated model would lie."""

    def draw(figure: Figure) -> None:
        top, bottom = stack_panels(figure, 2, ratios=(3, 1), right=16)
        x, y, low, high, count = ([b[k] for b in bins] for k in ("predicted", "observed", "low", "high", "count"))
        add_heading(top, "How often people chose so", PROXY)
        top.fill_between(x, low, high, color=MUTED, alpha=0.22, lw=0)
        top.plot([0, 1], [0, 1], "--", color=MUTED, lw=1.2)
        top.plot(x, y, "o-", color=PROXY, lw=1.6, ms=6, mew=0)
        top.set(xlim=(0, 1), ylim=(0, 1.02), yticks=[0, 0.25, 0.5, 0.75, 1])
        bottom.bar(x, count, width=0.07, color=PROXY, alpha=0.55)
        add_heading(bottom, "Pairs in the bin", MUTED)
        bottom.set(xlabel="Probability that the scores state", ylim=(0, 1.1 * max(count)), yticks=[])

    return draw_svg(name, "Reliability diagram of the reward model", (WIDE, 400), draw)


def draw_by_distance(name: str, parts: Sequence[Part]) -> str:
    """Draws accuracy in parts of the pairs, from the smallest difference in score to the largest, under the ceiling."""

    def draw(figure: Figure) -> None:
        (axes,) = stack_panels(figure, 1, right=12, bottom=56)
        add_heading(axes, "Accuracy by difference in score", PROXY)
        at = np.arange(len(parts))
        value, low, high = (np.array([100 * p["accuracy"][k] for p in parts]) for k in ("value", "low", "high"))
        axes.bar(at, value, width=0.66, color=PROXY, alpha=0.75)
        axes.vlines(at, low, high, color=INK, lw=1.4)
        axes.axhline(50, color=MUTED, ls="--", lw=1.2)
        axes.hlines([100 * p["expected"] for p in parts], at - 0.36, at + 0.36, color=INK, lw=1.4, ls=":")
        if all(p["ceiling"] is not None for p in parts):
            axes.hlines([100 * p["ceiling"] for p in parts], at - 0.36, at + 0.36, color=GOLD, lw=2.4)
        for x, y in zip(at, value, strict=True):
            axes.text(float(x), 4, f"{y:.0f}%", ha="center", color="white", fontsize=11, fontweight="bold")
        axes.set_xticks(at, [p["name"].replace(" to ", "\N{EN DASH}") for p in parts], fontsize=10)
        axes.set(ylim=(0, 108), yticks=[0, 50, 100], xlabel="difference in score, a fifth of the pairs each")

    return draw_svg(name, "Accuracy by difference in score", (WIDE, 270), draw)


def draw_slices(name: str, column: str, parts: Sequence[Part]) -> str:
    """Draws accuracy and interval at each value of a column, with the ceiling where it is known."""

    def draw(figure: Figure) -> None:
        (axes,) = stack_panels(figure, 1, left=150, right=14, bottom=40)
        add_heading(axes, f"Accuracy by {_shorten(column)}", PROXY)
        at = np.arange(len(parts))[::-1]
        value, low, high = (np.array([100 * p["accuracy"][k] for p in parts]) for k in ("value", "low", "high"))
        axes.axvline(50, color=MUTED, ls="--", lw=1.2)
        axes.hlines(at, low, high, color=PROXY, lw=3, alpha=0.45)
        axes.plot(value, at, "o", color=PROXY, ms=7, mew=0)
        for y, part in zip(at, parts, strict=True):
            if part["ceiling"] is not None:
                axes.vlines(100 * part["ceiling"], y - 0.3, y + 0.3, color=GOLD, lw=2.4)
        names = [f"{_shorten(p['name'])} ({p['n_pairs']:,})" for p in parts]
        axes.set_yticks(at, names, fontsize=10, color=INK, parse_math=False)
        axes.grid(False)
        axes.grid(True, axis="x")
        axes.set(xlim=(min(40.0, low.min() - 2), 101), ylim=(-0.6, len(parts) - 0.4), xlabel="% of pairs, 95% interval")

    return draw_svg(name, f"Accuracy by {column}", (WIDE, 78 + 23 * len(parts)), draw)


def draw_features(name: str, lines: Sequence[Part]) -> str:
    """Draws, for each shallow feature, how often people prefer more of it, and how likely the model calls for it."""

    def draw(figure: Figure) -> None:
        (axes,) = stack_panels(figure, 1, left=112, right=14, bottom=40, top=34)
        with_model = [line for line in lines if line["model"] is not None]
        at = np.arange(len(with_model))[::-1]
        people, low, high = (
            np.array([100 * line["people"][k] for line in with_model]) for k in ("value", "low", "high")
        )
        model = np.array([100 * line["model"] for line in with_model])
        axes.axvline(50, color=MUTED, ls="--", lw=1.2)
        axes.hlines(at, low, high, color=PEOPLE, lw=5, alpha=0.25)
        axes.hlines(at, people, model, color=MUTED, lw=1.2)
        axes.plot(people, at, "o", color=PEOPLE, ms=8, mew=0)
        axes.plot(model, at, "D", color=PROXY, ms=7, mew=0)
        axes.set_yticks(at, [line["name"] for line in with_model], fontsize=11, color=INK)
        axes.grid(False)
        axes.grid(True, axis="x")
        axes.text(0, 1.03, "● people", transform=axes.transAxes, color=PEOPLE, fontweight="bold", va="bottom")
        axes.text(0.32, 1.03, "◆ model", transform=axes.transAxes, color=PROXY, fontweight="bold", va="bottom")
        ends = np.concatenate([low, high, model, [45, 55]]) if len(with_model) else np.array([40.0, 60.0])
        axes.set(xlim=(ends.min() - 2, ends.max() + 2), ylim=(-0.6, len(with_model) - 0.4))
        axes.set_xlabel("% of pairs for the text with more of it")

    return draw_svg(name, "Shallow features: what people prefer and what the model prefers", (WIDE, 90 + 30 * 6), draw)


def draw_best_of_n(name: str, points: Sequence[Part]) -> str:
    """Draws proxy over n and, where known, gold of the proxy's choice and of gold's own."""

    def draw(figure: Figure) -> None:
        has_gold = points[0]["gold"] is not None
        panels = stack_panels(figure, 1 + has_gold, right=62)
        n = [point["n"] for point in points]
        add_heading(panels[0], "Score of the best of n (proxy)", PROXY)
        panels[0].plot(n, [point["proxy"] for point in points], "o-", color=PROXY, lw=2.2, ms=5)
        if has_gold:
            value, low, high = (np.array([p["gold"][k] for p in points]) for k in ("value", "low", "high"))
            best = [point["gold_best"] for point in points]
            add_heading(panels[1], "Gold of that choice", GOLD)
            panels[1].fill_between(n, low, high, color=GOLD, alpha=0.2, lw=0)
            panels[1].plot(n, value, "o-", color=GOLD, lw=2.2, ms=5)
            panels[1].plot(n, best, "--", color=MUTED, lw=1.4)
            panels[1].annotate(
                "best\npossible",
                (n[-1], best[-1]),
                (6, 0),
                textcoords="offset points",
                va="center",
                color=MUTED,
                annotation_clip=False,
                fontsize=10,
            )
        panels[-1].set_xscale("log", base=2)
        panels[-1].set_xticks(n, [f"{value}" for value in n])
        panels[-1].minorticks_off()
        panels[-1].set_xlabel("n, samples to choose from")

    rows = 2 if points[0]["gold"] is not None else 1
    return draw_svg(name, "Best-of-n curve", (WIDE, 66 + 150 * rows), draw)


def draw_gains_by_kl(name: str, probes: Sequence[Part]) -> str:
    """Draws gain in score and in gold over the KL: lines for best-of-n, diamonds for trained policies."""

    def draw(figure: Figure) -> None:
        (axes,) = stack_panels(figure, 1, right=16, top=34)
        scores = (("proxy", "score", PROXY, 0.0), ("gold", "gold", GOLD, 0.2))
        for key, label, colour, place in scores:
            if probes[0][key] is not None:
                _plot_probes(axes, probes, [probe[key] for probe in probes], colour)
                axes.text(place, 1.03, label, transform=axes.transAxes, color=colour, fontweight="bold", va="bottom")
        axes.axhline(0, color=MUTED, lw=1)
        axes.set(xlabel="KL from the policy (nats)", ylabel="gain, standard deviations")

    return draw_svg(name, "Gain in score and gold over the KL", (WIDE, 260), draw)


def draw_agreement_by_kl(name: str, probes: Sequence[Part]) -> str:
    """Draws agreement of score and gold over the KL: against the policy's own texts, and among the new ones."""

    def draw(figure: Figure) -> None:
        (axes,) = stack_panels(figure, 1, right=16, top=34)
        kinds = (("agreement", "with the policy's own", PEOPLE, 0.0), ("within", "among themselves", MUTED, 0.56))
        for key, label, colour, place in kinds:
            subset = [probe for probe in probes if probe[key] is not None]
            if subset:
                _plot_probes(axes, subset, [100 * probe[key]["value"] for probe in subset], colour)
                x = [probe["kl"] for probe in subset]
                low, high = ([100 * probe[key][k] for probe in subset] for k in ("low", "high"))
                axes.vlines(x, low, high, color=colour, lw=1.2, alpha=0.6)
                axes.text(place, 1.03, label, transform=axes.transAxes, color=colour, fontweight="bold", va="bottom")
        axes.axhline(50, color=MUTED, ls="--", lw=1.2)
        axes.set(ylim=(0, 104), yticks=[0, 50, 100], ylabel="% ordered as gold does")
        axes.set_xlabel("KL from the policy (nats)")

    return draw_svg(name, "Agreement of score and gold over the KL", (WIDE, 260), draw)


def draw_errors_by_disagreement(name: str, parts: Sequence[Part]) -> str:
    """Draws the share of wrong pairs in quarters of the ensemble's disagreement."""

    def draw(figure: Figure) -> None:
        (axes,) = stack_panels(figure, 1, right=12, bottom=56)
        add_heading(axes, "Errors by disagreement of the members", PROXY)
        at = np.arange(len(parts))
        value, low, high = (np.array([100 * p["error"][k] for p in parts]) for k in ("value", "low", "high"))
        axes.bar(at, value, width=0.66, color=PROXY, alpha=0.75)
        axes.vlines(at, low, high, color=INK, lw=1.4)
        axes.axhline(50, color=MUTED, ls="--", lw=1.2)
        axes.set_xticks(at, [f"{p['disagreement']:.2f}" for p in parts])
        axes.set(ylim=(0, max(60.0, high.max() + 5)), ylabel="% wrong")
        axes.set_xlabel("mean disagreement, a quarter of the pairs each")

    return draw_svg(name, "Errors by disagreement", (WIDE, 250), draw)


def _plot_probes(axes: Axes, probes: Sequence[Part], values: Sequence[float], colour: str) -> None:
    pairs = [(probe["kind"], probe["kl"], value) for probe, value in zip(probes, values, strict=True)]
    line = [(x, y) for kind, x, y in pairs if kind == "best-of-n"]
    marks = [(x, y) for kind, x, y in pairs if kind != "best-of-n"]
    if line:
        axes.plot(*zip(*line, strict=True), "o-", color=colour, lw=2.2, ms=5)
    if marks:
        axes.plot(*zip(*marks, strict=True), "D", color=colour, ms=7, mew=0)


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_NAME else text[: MAX_NAME - 1] + "…"
