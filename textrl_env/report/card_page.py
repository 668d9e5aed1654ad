"""Page of a reward model's report card: report_card.json in, report_card.html beside it out."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from textrl_env.data.text.display import printable
from textrl_env.errors import InputError
from textrl_env.files import write_text
from textrl_env.report import card_figures
from textrl_env.report.findings import format_number, format_percent
from textrl_env.report.templates import Tile, load_templates

FORMAT = 1
BADGES = {"passed": ("better", "pass"), "failed": ("worse", "FAIL"), "not measured": ("unclear", "not measured")}
QUESTIONS = {
    "accuracy": "Does it order held-out pairs as people do?",
    "slices": "On every kind of prompt?",
    "calibration": "Does it mean the probabilities that its scores state?",
    "invariance": "Is a score the text's own, whatever stands beside it?",
    "tilt": "Does it like length, or another shallow feature, more than people do?",
    "substance": "Does it know more than shallow features?",
    "disagreement": "Do its members disagree where it is wrong?",
    "best of n": "Does choosing by it gain what matters?",
    "far from the policy": "Does it still hold where training takes the policy?",
}


def write_card(path: Path) -> Path:
    """Reads a report card's JSON and writes the page beside it, one file that needs no network, font or script.

    Raises:
        InputError: the file is no report card of this version.
    """
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no report card can be read ({error}); make one with: textrl report rm") from None
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise InputError(f"{path}: not a report card of this version; make it anew with: textrl report rm")
    text = load_templates().get_template("card_page.html").render(_build_content(card))
    return write_text(path.with_suffix(".html"), text)


def _build_content(card: Mapping[str, Any]) -> dict[str, Any]:
    checks = [
        {
            **check,
            "tone": BADGES[check["outcome"]][0],
            "badge": BADGES[check["outcome"]][1],
            "question": QUESTIONS.get(check["name"], ""),
        }
        for check in card["checks"]
    ]
    return {
        "title": "Reward model report card",
        "card": card,
        "checks": checks,
        "failed": [check for check in checks if check["outcome"] == "failed"],
        "n_measured": sum(check["outcome"] != "not measured" for check in checks),
        "tiles": list(_build_tiles(card)),
        "figures": {name: Markup(svg) for name, svg in _draw_figures(card)},
        "slice_names": [f"slice_{number}" for number in range(len(card["slices"]))],
        "data": card.get("data", {}),
        "limits": card.get("limits", {}),
    }


def _build_tiles(card: Mapping[str, Any]) -> Iterator[Tile]:
    accuracy, ceiling = card["accuracy"]["accuracy"], card["ceiling"]
    note = f"95% interval {format_percent(accuracy['low'])} to {format_percent(accuracy['high'])}"
    if ceiling is not None:
        note += f"; the ceiling is {format_percent(ceiling['value'])}"
    yield Tile("Accuracy on held-out pairs", format_percent(accuracy["value"]), note, "proxy")
    calibration = card["calibration"]
    temperature = calibration["temperature"]
    scale = "no scale of the scores helps" if temperature is None else f"temperature {format_number(temperature)}"
    yield Tile("Calibration error (ECE)", format_number(calibration["ece"]), scale, "proxy")
    shallow = card["shallow"]
    if (share := shallow["share_left"]["value"]) is not None:
        whole, rest = format_percent(shallow["accuracy"]), format_percent(shallow["left"]["value"])
        note = f"of its accuracy above a coin's; {whole} falls to {rest}"
        yield Tile("Left without shallow features", format_percent(share), note, "ppo")
    best = card["best_of_n"]
    if best is not None and best["efficiency"] is not None and best["efficiency"]["value"] is not None:
        note = f"of what choosing by gold gains, at n = {best['points'][-1]['n']}"
        yield Tile("Gold gained by best-of-n", format_percent(best["efficiency"]["value"]), note, "gold")


def _draw_figures(card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields name and SVG of every figure that this card has data for."""
    yield "reliability", card_figures.draw_reliability("reliability", card["calibration"]["bins"])
    yield "by_distance", card_figures.draw_by_distance("by_distance", card["by_distance"])
    for number, (column, parts) in enumerate(card["slices"].items()):
        name = f"slice_{number}"
        parts = [{**part, "name": printable(part["name"])} for part in parts]
        yield name, card_figures.draw_slices(name, printable(column), parts)
    yield "features", card_figures.draw_features("features", card["shallow"]["features"])
    if card["ensemble"] is not None:
        yield "ensemble", card_figures.draw_errors_by_disagreement("ensemble", card["ensemble"]["parts"])
    if card["best_of_n"] is not None:
        yield "best_of_n", card_figures.draw_best_of_n("best_of_n", card["best_of_n"]["points"])
    if card["probes"]:
        yield "gains", card_figures.draw_gains_by_kl("gains", card["probes"])
        if card["probes"][0]["agreement"] is not None:
            yield "agreement", card_figures.draw_agreement_by_kl("agreement", card["probes"])
