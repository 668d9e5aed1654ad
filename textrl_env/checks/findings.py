"""Findings: the outcome of a check, what it is based on, and its form in JSON."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, Literal

import numpy as np

from textrl_env.stats import Estimate

Outcome = Literal["passed", "failed", "not measured", "not applicable", "ok", "notice", "warning", "error"]
"""A verdict against a limit (`passed`, `failed`), a grade of data (`SEVERITIES`), or neither."""
SEVERITIES: tuple[Outcome, ...] = ("ok", "notice", "warning", "error")
"""From harmless to fatal: present and small; worth a look; misleads training; stops training or voids its figures."""


def pass_or_fail(condition: bool) -> Outcome:
    """Returns `passed` where the condition holds, else `failed`."""
    return "passed" if condition else "failed"


@dataclass(frozen=True)
class Effect:
    """A size with its interval at 95 %; the ends are NaN where there is no interval."""

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def of(cls, name: str, estimate: Estimate) -> "Effect":
        """Names an estimate."""
        return cls(name, estimate.value, estimate.low, estimate.high)

    def __str__(self) -> str:
        return f"{self.name} {self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class Evidence:
    """Rows in which a finding can be seen, as `file:line`, and what they say."""

    where: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Finding:
    """The answer to a check.

    Attributes:
        outcome: the verdict or the severity.
        message: the measurement in words; for a fault in data a phrase that follows the count.
        check: the name of the check; `run_checks` fills it in, as it does `consequence` and `remedy`.
        consequence: what goes wrong in training where the check fails.
        remedy: what to do about it.
        count, of, unit: how many of how many units are concerned, where units can be counted.
        effects: sizes that the finding rests on.
        limit: what the first effect was held against.
        examples: rows in which it can be seen.
    """

    outcome: Outcome
    message: str
    check: str = ""
    consequence: str = ""
    remedy: str = ""
    count: int = 0
    of: int = 0
    unit: str = ""
    effects: tuple[Effect, ...] = ()
    limit: float | None = None
    examples: tuple[Evidence, ...] = ()

    @property
    def value(self) -> float | None:
        """The size of the first effect; None without one."""
        return self.effects[0].value if self.effects else None

    @property
    def sure(self) -> bool:
        """True unless the interval of the first effect reaches across the limit."""
        return self.limit is None or not any(effect.low <= self.limit <= effect.high for effect in self.effects[:1])

    def as_row(self, columns: Mapping[str, str]) -> dict[str, Any]:
        """Returns a JSON object: by key, the attribute that `columns` names for it."""
        return {key: json_ready(getattr(self, attribute)) for key, attribute in columns.items()}


def json_ready(value: Any) -> Any:
    """Returns dataclasses, mappings and sequences as JSON values; a number that is not finite becomes None."""
    if is_dataclass(value) and not isinstance(value, type):
        return json_ready(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
