"""The report card for the terminal."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from textrl_env.reward_models.report_card import ReportCard

SHOWN = {"passed": ("pass", "green"), "failed": ("FAIL", "bold red"), "not measured": ("-", "dim")}


def shown(card: "ReportCard", folder: Path) -> Iterator[RenderableType]:
    """A table of the checks, and the verdict; a failure says what it leads to."""
    table = Table("check", "", "measured", title=Text(f"report card of {folder}"), title_justify="left")
    for check in card.checks:
        label, style = SHOWN[check.outcome]
        told = Text(check.measured, style="" if check.outcome != "not measured" else "dim")
        if check.outcome == "failed":
            told.append(f"\nleads to: {check.leads_to}", style="bold")
        if not check.sure:
            label += "?"
        table.add_row(check.name, Text(label, style=style), told)
    yield table
    if any(not check.sure for check in card.checks):
        yield "?: the 95% interval reaches across the limit; more held-out preferences or samples would tell"
    measured = sum(check.outcome != "not measured" for check in card.checks)
    yield f"FAILED: {', '.join(card.failed)}" if card.failed else f"passed, {measured} of {measured} checks measured"
