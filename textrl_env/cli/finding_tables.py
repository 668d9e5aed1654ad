"""Findings as tables for the terminal: verdicts with their reasons, and faults of data with their rows."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table
from rich.text import Text

from textrl_env.checks import Finding, Outcome
from textrl_env.data.text.display import printable

N_EFFECTS = 6
"""Most effects of a finding in the table; all are in the JSON."""
SEVERITY_STYLES: Mapping[Outcome, str] = {"ok": "green", "notice": "cyan", "warning": "yellow", "error": "bold red"}
Labels = Mapping[Outcome, tuple[str, str]]
"""How a table says an outcome: word and style."""


def verdict_table(findings: Sequence[Finding], *, title: str, labels: Labels) -> Table:
    """Makes a table of check, verdict and measurement; a failure says what it leads to and what to do.

    A question mark at a verdict says that the interval of the measurement reaches across the limit.
    """
    table = Table("check", "", "measured", title=Text(title), title_justify="left")
    for finding in findings:
        label, style = labels[finding.outcome]
        text = Text(finding.message, style="dim" if finding.outcome == "not measured" else "")
        if finding.outcome == "failed":
            lines = {"leads to": finding.consequence, "to do": finding.remedy}
            text.append("".join(f"\n{name}: {line}" for name, line in lines.items() if line), style="bold")
        table.add_row(finding.check, Text(label if finding.sure else f"{label}?", style=style), text)
    return table


def severity_table(findings: Sequence[Finding]) -> Table:
    """Makes a table of severity and finding: how large it is, where it can be seen and what to do."""
    table = Table(box=SIMPLE, show_header=False, pad_edge=False, padding=(0, 2, 1, 0))
    for finding in findings:
        table.add_row(Text(finding.outcome, style=SEVERITY_STYLES[finding.outcome]), _describe(finding))
    return table


def _describe(finding: Finding) -> Group:
    count = f"{finding.count}" if finding.count == finding.of else f"{finding.count} of {finding.of}"
    lines = [Text(f"{finding.check}: {count} {finding.unit} {finding.message}", style="bold")]
    lines += [Text(printable(str(effect))) for effect in finding.effects[:N_EFFECTS]]
    if len(finding.effects) > N_EFFECTS:
        lines.append(Text(f"and {len(finding.effects) - N_EFFECTS} more"))
    if finding.outcome != "ok":
        for example in finding.examples:
            # The whole path is in the JSON; here it would fill the line.
            places = ", ".join(Path(where).name for where in example.where)
            lines.append(Text(printable(f"{places}: {example.text}"), style="dim"))
        lines.append(Text(f"to do: {finding.remedy}"))
    return Group(*lines)
