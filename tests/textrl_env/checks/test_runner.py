"""Checks run in order, say what they lack, and do not repeat the failure of a check that they need."""

import json
import math

import pytest

from textrl_env.checks import Check, Effect, Finding, check, pass_or_fail, run_checks


@check("is small", consequence="overflow", remedy="divide")
def is_small(number: int) -> Finding:
    return Finding(pass_or_fail(number < 10), f"it is {number}")


@check("has an inverse", remedy="add one", needs=(is_small,))
def has_inverse(number: int) -> Finding:
    return Finding("passed", f"{1 / number}")


@check("has two digits alike", needs=(has_inverse,))
def has_twins(number: int) -> list[Finding]:
    return [Finding("notice", "are alike", check="twins", remedy="none")] if number == 11 else []


def outcomes(number: int) -> dict[str, str]:
    checks = (is_small, has_inverse, has_twins)
    return {finding.check: finding.outcome for finding in run_checks(number, checks, exceptions_fail=True)}


def test_a_check_needs_those_before_it() -> None:
    assert set(outcomes(5).values()) == {"passed"}
    assert list(outcomes(50).values()) == ["failed", "not applicable", "not applicable"]
    assert list(outcomes(0).values()) == ["passed", "failed", "not applicable"]


def test_an_exception_fails_its_check_or_is_raised() -> None:
    finding = next(run_checks(0, [has_inverse], exceptions_fail=True))
    assert finding.message.startswith("ZeroDivisionError") and finding.remedy == "add one"
    with pytest.raises(ZeroDivisionError):
        list(run_checks(0, [has_inverse]))


def test_a_finding_has_what_its_check_says_unless_it_says_so_itself() -> None:
    (failure,) = is_small.run(12)
    assert (failure.check, failure.consequence, failure.remedy) == ("is small", "overflow", "divide")
    (twins,) = has_twins.run(11)
    assert (twins.check, twins.remedy) == ("twins", "none")


def test_a_check_says_what_the_subject_lacks() -> None:
    (finding,) = Check("length", lambda text: None, missing=lambda text: None if text else "no text").run("")
    assert (finding.outcome, finding.message) == ("not applicable", "no text")


@pytest.mark.parametrize(("low", "high", "sure"), [(0.1, 0.4, True), (0.4, 0.6, False), (math.nan, math.nan, True)])
def test_a_finding_is_sure_if_its_interval_is_on_one_side_of_the_limit(low: float, high: float, sure: bool) -> None:
    finding = Finding("passed", "", effects=(Effect("share", 0.3, low, high),), limit=0.5)
    assert finding.sure is sure and finding.value == 0.3
    row = finding.as_row({"of": "effects", "limit": "limit"})
    assert json.loads(json.dumps(row, allow_nan=False))["of"][0]["low"] == (None if math.isnan(low) else low)
