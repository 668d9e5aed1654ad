"""An episode as text and as HTML: the prompt, and the completion token by token with its reward terms."""

from collections.abc import Mapping, Sequence
from html import escape

from textrl_env.errors import InputError

TokenLedger = Sequence[tuple[str, Mapping[str, float]]]
"""Per token its text and its reward terms, by name; every token has the same names."""

# One colour a term, in order; a sixth term starts again. ANSI codes and the same hues for HTML.
ANSI = (32, 36, 35, 33, 34)
HTML = ("#2e7d32", "#00838f", "#8e24aa", "#b26a00", "#1565c0")


def check_render_mode(render_mode: str | None, known: Sequence[str]) -> str | None:
    """Returns the mode; InputError for one that is not known."""
    if render_mode not in (None, *known):
        raise InputError(f"render_mode must be one of {known} or None, got {render_mode!r}")
    return render_mode


def render_episode(prompt: str, ledger: TokenLedger, *, render_mode: str | None) -> str | None:
    """Returns the episode in mode `ansi` or `html`, None in any other."""
    ways = {"ansi": ansi_episode, "html": html_episode}
    return ways[render_mode](prompt, ledger) if render_mode in ways else None


def ansi_episode(prompt: str, ledger: TokenLedger) -> str:
    """Returns the prompt, a line a token with its reward terms, and their totals; every term has a colour of its own.

    A token has the colour of the term that moved its reward most, and none where nothing was paid.
    """
    lines = [prompt]
    for text, terms in ledger:
        lines.append(f"  {ansi_token(f'{text!r:<18}', terms)} {_ansi_terms(terms)}")
    if ledger:
        lines.append(f"  {'total':<18} {_ansi_terms(totals(ledger))}")
    return "\n".join(lines)


def ansi_token(text: str, terms: Mapping[str, float]) -> str:
    """Returns a token's text in the colour of the term that moved its reward most."""
    most = max(terms, key=lambda name: abs(terms[name]))
    return _colour(text, list(terms).index(most)) if terms[most] else text


def html_episode(prompt: str, ledger: TokenLedger) -> str:
    """Returns the episode as a strip of HTML without scripts or outside parts, for a page or as one.

    Under each token stands a bar a term: its length is the size of the payment, relative to that term's largest in the
    episode; it is filled for a gain and hollow for a loss. The exact numbers show when the pointer rests on it.
    """
    largest = {name: max(abs(terms[name]) for _, terms in ledger) or 1.0 for name in totals(ledger)}
    cells = "".join(_html_token(text, terms, largest) for text, terms in ledger)
    legend = "".join(
        f'<span style="margin-right:1.5em"><span style="color:{HTML[index % len(HTML)]}">■</span> '
        f"{escape(name)} {value:+.3f}</span>"
        for index, (name, value) in enumerate(totals(ledger).items())
    )
    return (
        '<div style="font:16px/1.5 ui-monospace,monospace;padding:.8em;background:#fff;color:#222">'
        f'<div style="color:#666;white-space:pre-wrap;margin-bottom:.5em">{escape(prompt)}</div>'
        f'<div style="display:flex;flex-wrap:wrap;gap:.3em .15em">{cells}</div>'
        f'<div style="margin-top:.6em;font-size:.85em">{legend}</div></div>'
    )


def totals(ledger: TokenLedger) -> dict[str, float]:
    """Returns the sum of every term over the episode; empty for an episode without tokens."""
    names = ledger[0][1] if ledger else ()
    return {name: sum(terms[name] for _, terms in ledger) for name in names}


def _ansi_terms(terms: Mapping[str, float]) -> str:
    return "  ".join(_colour(f"{name} {value:+.3f}", index) for index, (name, value) in enumerate(terms.items()))


def _colour(text: str, index: int) -> str:
    return f"\033[{ANSI[index % len(ANSI)]}m{text}\033[0m"


def _html_token(text: str, terms: Mapping[str, float], largest: Mapping[str, float]) -> str:
    payments = ", ".join(f"{name} {value:+.4f}" for name, value in terms.items())
    bars = "".join(
        _html_bar(value / largest[name], HTML[index % len(HTML)]) for index, (name, value) in enumerate(terms.items())
    )
    # Spaces and line breaks of a token are part of it, so they get a sign.
    label = escape(text).replace(" ", "·").replace("\n", "⏎") or "∅"
    return f'<span title="{escape(payments)}" style="min-width:2.6em"><span>{label}</span>{bars}</span>'


def _html_bar(share: float, colour: str) -> str:
    """A bar for a share of the term's largest payment, in [-1, 1]."""
    fill = colour if share > 0 else "transparent"
    edge = colour if share else "transparent"
    return (
        f'<span style="display:block;box-sizing:border-box;height:.45em;width:{100 * abs(share):.1f}%;'
        f'margin-top:2px;background:{fill};border:1px solid {edge}"></span>'
    )
