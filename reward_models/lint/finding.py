"""What a check says: findings with counts, effect sizes and example rows."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Severity = Literal["ok", "notice", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From harmless to fatal: measured and small; worth a look; misleads training; stops training or voids its figures."""
MAX_EXAMPLE = 100


@dataclass(frozen=True)
class Effect:
    """A size, and its interval at 95 %."""

    name: str
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.name} {self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class Example:
    """Rows, as `file:line`, and what they have in them."""

    where: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Finding:
    """One fault of the data, or, with severity "ok", an effect that was measured and is small."""

    check: str
    severity: Severity
    message: str
    """What was found, as a phrase that follows the count."""
    count: int
    """How many of `unit` are concerned."""
    of: int
    """Out of how many."""
    unit: str
    remedy: str = ""
    effects: tuple[Effect, ...] = ()
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class LintReport:
    """Everything that `textrl lint` shows.

    Attributes:
        source: the file.
        n_rows, n_pairs, n_prompts: readable rows, pairs with a preference in them, and distinct prompts.
        findings: the gravest first.
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

    def at_least(self, severity: Severity) -> list[Finding]:
        """The findings that are as grave as `severity` or graver."""
        return [each for each in self.findings if SEVERITIES.index(each.severity) >= SEVERITIES.index(severity)]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def graded(near_end: float, *, notice: float, warning: float) -> Severity:
    """The severity of an effect whose interval ends at `near_end` on the side of no effect."""
    return "warning" if near_end > warning else "notice" if near_end > notice else "ok"


def shortened(*texts: str) -> str:
    """Texts as they can stand in a line."""
    quoted = (text if len(text) <= MAX_EXAMPLE else f"{text[: MAX_EXAMPLE - 3]}..." for text in texts)
    return " | ".join(map(repr, quoted))
