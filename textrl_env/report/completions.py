"""Choose the rows of the before/after table by a stated rule, and cut what is too long for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from textrl_env.data.text import printable
from textrl_env.report.run_files import Row

SHOWN_CHARACTERS = 1200


@dataclass(frozen=True)
class Group:
    title: str
    rows: Sequence[Row]
    """Completion rows; `change` is added where the rule's score is known."""


@dataclass(frozen=True)
class Choice:
    rule: str
    groups: Sequence[Group]
    better: int
    same: int
    worse: int
    kind: str
    """The score the rule goes by: gold, proxy, or empty where rows have none."""


def choose(rows: Sequence[Row], each: int = 4) -> Choice:
    """`each` biggest gains, as many of the worst changes, and as many at even steps through the rest of the file.

    By gold where every row has it, else by proxy; without either, all of them at even steps. Ties: earlier row first.
    """
    kinds = (k for k in ("gold", "proxy") if all(f"{k}_{side}" in row for row in rows for side in ("sft", "ppo")))
    kind = next(kinds, "")
    if not kind:
        picked = _even(rows, 3 * each)
        rule = f"{len(picked)} of {len(rows):,} prompts, at even steps through the file (rows carry no scores)."
        return Choice(rule, [Group("At even steps through the file", picked)], 0, 0, 0, "")
    scored = [{**row, "change": row[f"{kind}_ppo"] - row[f"{kind}_sft"]} for row in rows]
    better, worse = sum(r["change"] > 0 for r in scored), sum(r["change"] < 0 for r in scored)
    counts = better, len(scored) - better - worse, worse
    ranked = sorted(range(len(scored)), key=lambda i: (-scored[i]["change"], i))
    if len(scored) <= 3 * each:
        groups = [Group("All prompts, biggest gain first", [scored[i] for i in ranked])]
        return Choice(f"All {len(scored)} prompts of the evaluation.", groups, *counts, kind)
    top, bottom = ranked[:each], ranked[-each:][::-1]
    rest = [row for i, row in enumerate(scored) if i not in {*top, *bottom}]
    groups = [
        Group("Biggest gains" if better else "Smallest losses (no prompt gained)", [scored[i] for i in top]),
        Group("Worst changes" if worse else "Smallest gains (no prompt got worse)", [scored[i] for i in bottom]),
        Group("At even steps through the file", _even(rest, each)),
    ]
    rule = (
        f"{3 * each} of {len(scored):,} prompts, chosen by rule: the {each} biggest gains and the {each} worst changes "
        f"in {kind} score, and {each} at even steps through the rest of the file, whatever their score."
    )
    return Choice(rule, groups, *counts, kind)


def excerpt(text: str) -> str:
    """`printable`, cut where one text would push the others off the page."""
    if len(text) <= SHOWN_CHARACTERS:
        return printable(text)
    return f"{printable(text[:SHOWN_CHARACTERS])} … ({len(text) - SHOWN_CHARACTERS:,} more characters)"


def _even(rows: Sequence[Row], n: int) -> list[Row]:
    count = min(n, len(rows))
    return [rows[(2 * i + 1) * len(rows) // (2 * count)] for i in range(count)]
