"""The report card's page: complete, harmless whatever the texts are, and legible in Chromium on any screen."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from textrl_env.errors import InputError
from textrl_env.report import write_card

HOSTILE = (
    "</td></table><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">{{ 7 * 7 }}"
)


def estimate(value: float, width: float = 0.04) -> dict[str, float]:
    return {"value": value, "low": value - width, "high": value + width}


def part(name: str, value: float, ceiling: float | None = 0.85) -> dict[str, Any]:
    return {
        "name": name,
        "n_pairs": 240,
        "n_prompts": 40,
        "accuracy": estimate(value),
        "expected": value + 0.03,
        "ceiling": ceiling,
    }


def make_card(text: str = "Of course.", *, gold: bool = True) -> dict[str, Any]:
    """As `textrl report rm` writes it, with an ensemble."""
    names = ("accuracy", "slices", "calibration", "tilt", "best of n")
    checks = [
        {
            "name": name,
            "option": name,
            "outcome": outcome,
            "measured": f"{name}: {text}",
            "leads_to": "trouble",
            "value": 0.7,
            "limit": 0.5,
            "sure": name != "tilt",
        }
        for name, outcome in zip(names, ["passed", "passed", "failed", "passed", "not measured"], strict=True)
    ]
    probe = {"n_texts": 512, "n_pairs": 900, "disagreement": 0.1, "words": 22.0}
    return {
        "format": 1,
        "passed": False,
        "checks": checks,
        "weights": "ab" * 32,
        "reward_model": text,
        "command": text,
        "seed": 0,
        "limits": {"accuracy": 0.5},
        "data": {"preferences": text, "gold": gold},
        "ceiling": {"value": 0.83, "source": "known"},
        "accuracy": part("all", 0.74),
        "by_distance": [part(f"{n} to {n + 1}", 0.55 + n / 10) for n in range(5)],
        "slices": {text[:80]: [part(text, 0.7), part("b", 0.6)], "harmful": [part("True", 0.7)]},
        "calibration": {
            "ece": 0.04,
            "ece_by_chance": 0.02,
            "temperature": None,
            "bins": [
                {"predicted": n / 10 + 0.05, "observed": n / 10 + 0.07, "low": n / 10, "high": n / 10 + 0.1, "count": 9}
                for n in range(10)
            ],
        },
        "invariance": {"batch": 1e-7, "order": 0.0, "padding": 1e-7, "repeat": 0.0, "n_texts": 64},
        "shallow": {
            "features": [
                {
                    "name": "words",
                    "correlation": 0.1,
                    "partial": 0.2,
                    "people": estimate(0.53),
                    "model": 0.55,
                    "tilt": estimate(0.02),
                },
                {
                    "name": "variety",
                    "correlation": None,
                    "partial": None,
                    "people": dict.fromkeys(("value", "low", "high")),
                    "model": None,
                    "tilt": dict.fromkeys(("value", "low", "high")),
                },
            ],
            "explained": 0.2,
            "accuracy": 0.74,
            "left": estimate(0.7),
            "share_left": estimate(0.8),
            "matched": dict.fromkeys(("value", "low", "high")),
            "n_matched": 0,
        },
        "ensemble": {
            "n_members": 4,
            "auroc": estimate(0.6),
            "parts": [{"disagreement": 0.05 * n, "error": estimate(0.1 + 0.1 * n), "n_pairs": 90} for n in range(4)],
        },
        "best_of_n": {
            "n_prompts": 64,
            "pool": 64,
            "efficiency": estimate(0.7) if gold else None,
            "points": [
                {
                    "n": n,
                    "kl": k,
                    "proxy": k,
                    "gold": estimate(0.4 + k / 5) if gold else None,
                    "gold_best": 0.5 + k / 5 if gold else None,
                }
                for n, k in ((1, 0.0), (2, 0.2), (4, 0.6))
            ],
        },
        "probes": [
            {
                **probe,
                "name": name,
                "kind": kind,
                "kl": kl,
                "proxy": kl,
                "gold": kl / 2 if gold else None,
                "agreement": estimate(0.8) if gold else None,
                "within": estimate(0.7) if gold and kl < 5 else None,
            }
            for name, kind, kl in (("itself", "best-of-n", 0.0), ("best of 2", "best-of-n", 0.2), (text, "policy", 6.0))
        ],
        "mistakes": [{"prompt": text, "preferred": text, "preferred_score": -1.0, "other": text, "other_score": 2.0}],
        "favourites": [{"prompt": text, "completion": text, "score": 3.0, "gold": 0.1 if gold else None}],
    }


def page_of(folder: Path, card: dict[str, Any]) -> Path:
    path = folder / "report_card.json"
    path.write_text(json.dumps(card), encoding="utf-8")
    return write_card(path)


class Page(HTMLParser):
    """Elements with their attributes, and the text a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("gold", [True, False])
def test_the_page_is_whole_and_needs_nothing_but_itself(tmp_path: Path, gold: bool) -> None:
    html = page_of(tmp_path, make_card(gold=gold)).read_text(encoding="utf-8")
    page = Page(html)
    ids = [str(attrs["id"]) for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    found = {name.removeprefix("figure-") for name in ids if name.startswith("figure-")}
    always = {"reliability", "by_distance", "slice_0", "slice_1", "features", "ensemble", "best_of_n", "gains"}
    assert found == (always | {"agreement"} if gold else always)
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe", "img", "object", "embed", "base"}
    assert set(re.findall(r'https?://[^"\s<]+', html)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    for svg in re.findall(r"<svg .*?</svg>", html, flags=re.DOTALL):
        assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= {"#000000", "#ffffff"}
    assert "It fails 1 of 4 checks: calibration" in " ".join(page.text.split())
    assert "74.0%" in page.text and "no scale of the scores helps" in page.text
    assert not re.findall(r"\b(nan|None|Undefined)\b", page.text)
    assert html.encode() == page_of(tmp_path, make_card(gold=gold)).read_bytes()


@pytest.mark.parametrize("hostile", [HOSTILE, "\ud800 \x00 \x1b[31m \u202egnp.exe \u2028", "x" * 50_000, "$\\frac{1}$"])
def test_hostile_texts_are_shown_and_do_nothing(tmp_path: Path, hostile: str) -> None:
    page = Page(page_of(tmp_path, make_card(hostile)).read_text(encoding="utf-8"))
    assert not {tag for tag, _ in page.elements} & {"script", "img"}
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert not re.search("[\x00\x1b\u202e]", page.text)
    if hostile == HOSTILE:
        assert page.text.count(HOSTILE) >= 8


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 0}'])
def test_what_is_no_card_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "report_card.json").write_text(text)
    with pytest.raises(InputError, match=r"report card.*textrl report rm"):
        write_card(tmp_path / "report_card.json")


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_it_fits_the_screen_and_keeps_its_title(browser: Browser, tmp_path: Path, width: int, scheme: Any) -> None:
    tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page_of(tmp_path, make_card(HOSTILE)).as_uri())
    assert tab.title() == "Reward model report card" and len(asked) == 1
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    ink, paper = (tab.evaluate(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor"))
    lightness = [sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 for colour in (ink, paper)]
    assert (
        (lightness[0] > 180 and lightness[1] < 60) if scheme == "dark" else (lightness[0] < 80 and lightness[1] > 200)
    )
    # Figures do not outgrow the screen, and letters in them stay at a size that can be read.
    for box in tab.locator("figure").all():
        outer = box.bounding_box()
        assert outer is not None and outer["width"] <= width
    letters = "[...document.querySelectorAll('figure svg text')].map(text => text.getBoundingClientRect().height)"
    sizes = tab.evaluate(letters)
    assert len(sizes) > 50 and min(sizes) > 7
    tab.close()
