"""The report card for the terminal."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType

from textrl_env.checks import Outcome
from textrl_env.cli.finding_tables import verdict_table

if TYPE_CHECKING:
    from textrl_env.reward_models.report_card import ReportCard

LABELS: Mapping[Outcome, tuple[str, str]] = {
    "passed": ("pass", "green"),
    "failed": ("FAIL", "bold red"),
    "not measured": ("-", "dim"),
}


def shown(card: "ReportCard", folder: Path) -> Iterator[RenderableType]:
    """Yields a table of the checks, and the verdict; a failure says what it leads to."""
    findings = list(card.verdicts.values())
    yield verdict_table(findings, title=f"report card of {folder}", labels=LABELS)
    if any(not finding.sure for finding in findings):
        yield "?: the 95% interval reaches across the limit; more held-out preferences or samples would tell"
    n_measured = sum(finding.outcome != "not measured" for finding in findings)
    yield (
        f"FAILED: {', '.join(card.failed)}" if card.failed else f"passed, {n_measured} of {n_measured} checks measured"
    )
