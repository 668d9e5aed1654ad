"""Options of the linter, and the report it writes; nothing heavy, so that the command line can show them at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from textrl_env.checks import SEVERITIES, Finding, Outcome, json_ready
from textrl_env.errors import require_count, require_within

MAX_EXAMPLE = 100
"""Characters of a text in an example."""
COLUMNS = {
    "check": "check",
    "severity": "outcome",
    "message": "message",
    "count": "count",
    "of": "of",
    "unit": "unit",
    "remedy": "remedy",
    "effects": "effects",
    "examples": "examples",
}
"""Keys of a finding in JSON, and the attributes behind them."""


@dataclass(frozen=True)
class LintOptions:
    """Options of the linter."""

    by: str | None = None
    """A column whose values should have about as many labels each."""
    max_chars: int | None = None
    """Where prompt and completion are cut, in characters."""
    similar: float = 0.8
    """Share of common word triples from which texts are near-duplicates, in (0, 1]."""
    examples: int = 3
    """Most examples per finding."""

    def __post_init__(self) -> None:
        require_count(1, examples=self.examples)
        require_within("(0, 1]", similar=self.similar)
        if self.max_chars is not None:
            require_count(1, max_chars=self.max_chars)


@dataclass(frozen=True)
class LintReport:
    """Everything that `textrl lint` shows.

    Attributes:
        source: the file.
        n_rows, n_pairs, n_prompts: readable rows, pairs with a preference in them, and distinct prompts.
        findings: faults of the data, and effects that are there and small ("ok"); the gravest first.
        clean: checks that found nothing.
        skipped: checks that had nothing to look at, and why.
    """

    source: str
    n_rows: int
    n_pairs: int
    n_prompts: int
    findings: tuple[Finding, ...]
    clean: tuple[str, ...]
    skipped: dict[str, str]

    def at_least(self, severity: Outcome) -> list[Finding]:
        """Returns the findings that are as grave as `severity` or graver."""
        return [finding for finding in self.findings if _gravity(finding) >= SEVERITIES.index(severity)]

    def as_dict(self) -> dict[str, Any]:
        """Returns the report as JSON values."""
        findings = [finding.as_row(COLUMNS) for finding in self.findings]
        return json_ready({**vars(self), "findings": findings})  # type: ignore[no-any-return]


def sort_findings(findings: Sequence[Finding]) -> tuple[tuple[Finding, ...], tuple[str, ...], dict[str, str]]:
    """Returns what a report holds: findings with a severity, the gravest first, clean checks, and skipped ones."""
    grave = sorted((finding for finding in findings if finding.outcome in SEVERITIES), key=_gravity, reverse=True)
    clean = tuple(finding.check for finding in findings if finding.outcome == "passed")
    gaps = {finding.check: finding.message for finding in findings if finding.outcome == "not applicable"}
    return tuple(grave), clean, gaps


def _gravity(finding: Finding) -> int:
    return SEVERITIES.index(finding.outcome)


def grade_effect(distance: float, *, notice: float, warning: float) -> Outcome:
    """Returns the severity of an effect whose interval comes no nearer to no effect than `distance`."""
    return "warning" if distance > warning else "notice" if distance > notice else "ok"


def quote(*texts: str) -> str:
    """Returns texts as they can stand in a line: in quotation marks, long ones cut."""
    short = (text if len(text) <= MAX_EXAMPLE else f"{text[: MAX_EXAMPLE - 3]}..." for text in texts)
    return " | ".join(map(repr, short))
