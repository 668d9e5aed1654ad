"""What a check is, and how a list of them is gone through."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from textrl_env.cli.doctor.case import Case


@dataclass(frozen=True)
class Finding:
    """What a check measured; `passed` is None where there was nothing to measure."""

    passed: bool | None
    measured: str


@dataclass(frozen=True)
class Check:
    """A question about a case, and why it is asked."""

    name: str
    prevents: str
    """What goes wrong in training where the check fails."""
    remedy: str
    """What to do about it."""
    look: Callable[[Case], Finding]
    needs: tuple["Check", ...] = ()
    """Checks without whose passing this one would only repeat their failure."""


@dataclass(frozen=True)
class Result:
    """A check's outcome on a case."""

    name: str
    outcome: Literal["passed", "failed", "not applicable"]
    measured: str
    prevents: str
    remedy: str


def check(
    name: str, *, prevents: str, remedy: str, needs: tuple[Check, ...] = ()
) -> Callable[[Callable[[Case], Finding]], Check]:
    """Makes a check of the function that looks."""
    return lambda look: Check(name, prevents, remedy, look, needs)


def examine(case: Case, checks: Iterable[Check]) -> Iterator[Result]:
    """Results in the order of the checks; a check that raises has failed, and those that need it are not applicable."""
    blocked: set[Check] = set()
    for asked in checks:
        missing = [need.name for need in asked.needs if need in blocked]
        if missing:
            finding = Finding(None, f"not looked at before these pass: {', '.join(missing)}")
        else:
            try:
                finding = asked.look(case)
            except Exception as error:
                finding = Finding(False, f"{type(error).__name__}: {error}")
        if missing or finding.passed is False:
            blocked.add(asked)
        outcome: Literal["passed", "failed", "not applicable"] = (
            "not applicable" if finding.passed is None else "passed" if finding.passed else "failed"
        )
        yield Result(asked.name, outcome, finding.measured, asked.prevents, asked.remedy)
