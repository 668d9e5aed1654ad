"""Checks, and how a list of them is run on a subject."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from textrl_env.checks.findings import Finding

Subject = TypeVar("Subject")
Answer = Finding | Sequence[Finding] | None
"""A finding, several of them, or None where there is nothing to find."""


@dataclass(frozen=True)
class Check(Generic[Subject]):
    """A question about a subject, such as a file of preferences or a policy that is to be trained.

    Attributes:
        name: for people.
        examine: answers the question.
        consequence: what goes wrong in training where the check fails.
        remedy: what to do about it.
        needs: checks that must not have failed, as this one would only repeat their failure.
        missing: what the subject lacks for the question to make sense; returns None if it lacks nothing.
    """

    name: str
    examine: Callable[[Subject], Answer]
    consequence: str = ""
    remedy: str = ""
    needs: tuple["Check[Subject]", ...] = ()
    missing: Callable[[Subject], str | None] = lambda subject: None

    def run(self, subject: Subject) -> list[Finding]:
        """Examines a subject.

        Returns:
            One finding or more: `not applicable` where the subject lacks something, `passed` where there is nothing to
            find, else what was found.
        """
        if reason := self.missing(subject):
            return [self.complete(Finding("not applicable", reason))]
        answer = self.examine(subject)
        findings = [answer] if isinstance(answer, Finding) else answer or [Finding("passed", "nothing found")]
        return [self.complete(finding) for finding in findings]

    def complete(self, finding: Finding) -> Finding:
        """Returns the finding with the check's name, consequence and remedy, unless it says others itself."""
        return replace(
            finding,
            check=finding.check or self.name,
            consequence=finding.consequence or self.consequence,
            remedy=finding.remedy or self.remedy,
        )


class _Decorator(Protocol):
    def __call__(self, examine: Callable[[Subject], Answer]) -> Check[Subject]: ...


def check(name: str, *, consequence: str = "", remedy: str = "", needs: tuple[Check[Any], ...] = ()) -> _Decorator:
    """Makes a check of the function that is decorated; arguments as of `Check`."""

    def decorate(examine: Callable[[Subject], Answer]) -> Check[Subject]:
        return Check(name, examine, consequence=consequence, remedy=remedy, needs=needs)

    return decorate


def run_checks(
    subject: Subject, checks: Iterable[Check[Subject]], *, exceptions_fail: bool = False
) -> Iterator[Finding]:
    """Runs checks in their order.

    A check that needs one that failed, or that could not be looked at for the same reason, is `not applicable`.

    Args:
        subject: what is examined.
        checks: the questions; those that others need come first.
        exceptions_fail: a check that raises has failed, with the exception as its message; else it is raised.
    """
    unmet_names: set[str] = set()
    for question in checks:
        unmet = [need.name for need in question.needs if need.name in unmet_names]
        if unmet:
            reason = f"not looked at before these pass: {', '.join(unmet)}"
            findings = [question.complete(Finding("not applicable", reason))]
        else:
            try:
                findings = question.run(subject)
            except Exception as error:
                if not exceptions_fail:
                    raise
                findings = [question.complete(Finding("failed", f"{type(error).__name__}: {error}"))]
        if unmet or any(finding.outcome == "failed" for finding in findings):
            unmet_names.add(question.name)
        yield from findings
