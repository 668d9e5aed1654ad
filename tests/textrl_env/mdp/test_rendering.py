"""What is drawn is what was paid: totals, colours by term, bars to scale, nothing that breaks a page."""

import re
from html.parser import HTMLParser

import pytest

from textrl_env import TextGenEnv, TextGenVectorEnv
from textrl_env.mdp.rendering import ANSI, HTML, ansi_episode, html_episode
from textrl_env.worlds import LetterTokenizer

LEDGER = [
    ("a", {"score": 0.0, "kl": -0.5}),
    (" <b>", {"score": 0.0, "kl": 0.25}),
    ("\n", {"score": 2.0, "kl": -0.25}),
]


class Page(HTMLParser):
    """The texts of a page, and that every element is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.styles: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.add(tag)
        self.styles.append(dict(attrs).get("style") or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_text_shows_every_payment_and_the_totals_in_the_terms_colours() -> None:
    lines = ansi_episode("the prompt", LEDGER).splitlines()
    plain = [re.sub(r"\x1b\[\d+m", "", line) for line in lines]
    assert plain[0] == "the prompt" and len(plain) == 5
    assert "score +2.000" in plain[3] and "kl -0.250" in plain[3]
    assert plain[4].split() == ["total", "score", "+2.000", "kl", "-0.500"]
    # The first token was moved by kl alone, the last mostly by the score.
    assert lines[1].strip().startswith(f"\x1b[{ANSI[1]}m'a'") and lines[3].strip().startswith(f"\x1b[{ANSI[0]}m")


def test_html_is_whole_escaped_and_needs_nothing_from_outside() -> None:
    text = html_episode("prompt with <script>alert(1)</script> & more", LEDGER)
    page = Page(text)
    assert page.tags == {"div", "span"}
    shown = "".join(page.texts)
    assert "<script>alert(1)</script> & more" in shown and "·<b>" in shown and "⏎" in shown
    assert "score +2.000" in shown and "kl -0.500" in shown
    assert "http" not in text and "url(" not in text


def test_bars_are_to_scale_and_losses_are_hollow() -> None:
    bars = [style for style in Page(html_episode("p", LEDGER)).styles if "width:" in style and "height" in style]
    widths = [float(re.search(r"width:([\d.]+)%", style)[1]) for style in bars]  # type: ignore[index]
    assert widths == pytest.approx([0, 100, 0, 50, 100, 50])
    assert f"background:{HTML[0]}" in bars[4] and "background:transparent" in bars[5]
    assert f"1px solid {HTML[1]}" in bars[5]


def test_an_episode_without_tokens_or_payments_can_be_drawn() -> None:
    assert ansi_episode("p", []) == "p"
    assert "p" in Page(html_episode("p", [])).texts
    nothing = [("a", {"score": 0.0})]
    # Nothing was paid for it, so the token has no colour.
    assert ansi_episode("p", nothing).splitlines()[1].startswith("  'a'")
    assert Page(html_episode("p", nothing)).texts


def test_without_a_mode_nothing_is_shown() -> None:
    task = {"prompts": ["a"], "reward": lambda completions: [0.0] * len(completions), "tokenizer": LetterTokenizer(3)}
    env = TextGenEnv(**task)
    env.reset(seed=0)
    env.step(1)
    with pytest.warns(UserWarning, match="render_mode"):
        assert env.render() is None
    envs = TextGenVectorEnv(**task, num_envs=2)
    envs.reset(seed=0)
    envs.step([1, 2])
    assert envs.render() == (None, None)
