"""Templates of the pages, and what they are filled in with besides figures: tiles, and completions to read.

Everything is escaped; a name that is missing is an error.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from textrl_env.data.text.display import printable
from textrl_env.report.findings import format_difference, format_number, format_percent
from textrl_env.report.run_files import Row

MAX_CHARACTERS = 1200
"""Characters of a text that are on the page."""


def load_templates() -> Environment:
    """Returns the templates in this folder, with filters for numbers and texts."""
    templates = Environment(
        loader=PackageLoader("textrl_env.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        printable=printable,
        excerpt=excerpt,
        difference=format_difference,
        number=format_number,
        percent=format_percent,
    )
    return templates


@dataclass(frozen=True)
class Tile:
    """A figure at the top of a page."""

    label: str
    value: str
    note: str = ""
    colour: str = "ink"
    """A name in `PALETTE`."""


@dataclass(frozen=True)
class CompletionGroup:
    """Rows of the table of completions that stand together."""

    title: str
    rows: Sequence[Row]
    """Completion rows; `change` is added where the rule's score is known."""


@dataclass(frozen=True)
class CompletionChoice:
    """The table of completions: rows by a stated rule, and how many prompts got better or worse in all."""

    rule: str
    groups: Sequence[CompletionGroup]
    better: int = 0
    same: int = 0
    worse: int = 0
    kind: str = ""
    """The score the rule goes by: gold, proxy, or empty where rows have none."""


def choose_completions(rows: Sequence[Row], n: int = 4) -> CompletionChoice:
    """Takes the n biggest gains, the n worst changes, and n rows at even steps through the rest of the file.

    By gold where every row has it, else by proxy; without either, 3 n rows at even steps. Ties: earlier row first.
    """
    kinds = (k for k in ("gold", "proxy") if all(f"{k}_{side}" in row for row in rows for side in ("sft", "ppo")))
    kind = next(kinds, "")
    if not kind:
        choice = _step_through(rows, 3 * n)
        rule = f"{len(choice)} of {len(rows):,} prompts, at even steps through the file (rows carry no scores)."
        return CompletionChoice(rule, [CompletionGroup("At even steps through the file", choice)])
    changes = [{**row, "change": row[f"{kind}_ppo"] - row[f"{kind}_sft"]} for row in rows]
    better, worse = sum(row["change"] > 0 for row in changes), sum(row["change"] < 0 for row in changes)
    counts = better, len(changes) - better - worse, worse
    order = sorted(range(len(changes)), key=lambda i: (-changes[i]["change"], i))
    if len(changes) <= 3 * n:
        groups = [CompletionGroup("All prompts, biggest gain first", [changes[i] for i in order])]
        return CompletionChoice(f"All {len(changes)} prompts of the evaluation.", groups, *counts, kind)
    top, bottom = order[:n], order[-n:][::-1]
    rest = [row for i, row in enumerate(changes) if i not in {*top, *bottom}]
    groups = [
        CompletionGroup("Biggest gains" if better else "Smallest losses (no prompt gained)", [changes[i] for i in top]),
        CompletionGroup(
            "Worst changes" if worse else "Smallest gains (no prompt got worse)", [changes[i] for i in bottom]
        ),
        CompletionGroup("At even steps through the file", _step_through(rest, n)),
    ]
    rule = (
        f"{3 * n} of {len(changes):,} prompts, chosen by rule: the {n} biggest gains and the {n} worst changes "
        f"in {kind} score, and {n} at even steps through the rest of the file, whatever their score."
    )
    return CompletionChoice(rule, groups, *counts, kind)


def excerpt(text: str) -> str:
    """Makes a text printable, cut where it would push the others off the page."""
    if len(text) <= MAX_CHARACTERS:
        return printable(text)
    return f"{printable(text[:MAX_CHARACTERS])} … ({len(text) - MAX_CHARACTERS:,} more characters)"


def _step_through(rows: Sequence[Row], n: int) -> list[Row]:
    count = min(n, len(rows))
    return [rows[(2 * i + 1) * len(rows) // (2 * count)] for i in range(count)]
