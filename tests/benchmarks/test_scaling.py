"""The benchmark of growth: what counts as linear."""

from collections.abc import Callable
from typing import Any

from scaling import AXES, judge


def rows(seconds: Callable[[int], float], peak_mb: Callable[[int], float] = float) -> list[dict[str, Any]]:
    return [
        {"axis": "completions", "microbatch_size": 16, "completions": size.completions, "tokens": size.tokens,
         "vocabulary": size.vocabulary, "seconds": seconds(size.completions), "peak_mb": peak_mb(size.completions)}
        for size in AXES["completions"]
    ]  # fmt: skip


def holds(measured: list[dict[str, Any]]) -> list[bool]:
    return [row["holds"] for row in judge(measured)]


def test_linear_growth_with_or_without_a_fixed_part_holds_and_faster_growth_does_not() -> None:
    assert holds(rows(lambda n: 0.01 * n)) == [True, True]
    assert holds(rows(lambda n: 3 + 0.01 * n)) == [True, True]
    assert holds(rows(lambda n: n**1.2)) == [False, True]
    # A fixed part must not hide what comes later.
    assert holds(rows(lambda n: 1 + 0.001 * n + 1e-4 * n**2)) == [False, True]
    assert holds(rows(float, lambda n: n * n)) == [True, False]


def test_logits_of_all_completions_do_not_fit_into_the_peak() -> None:
    largest = AXES["vocabulary"][-1]
    whole = largest.completions * largest.tokens * largest.vocabulary * 4 / 2**20
    row = {"axis": "vocabulary", "microbatch_size": 16, "completions": largest.completions, "tokens": largest.tokens,
           "vocabulary": largest.vocabulary, "seconds": 1.0}  # fmt: skip
    assert holds([row | {"peak_mb": 0.9 * whole}]) == [True]
    assert holds([row | {"peak_mb": 1.1 * whole}]) == [False]
    assert holds([row | {"peak_mb": 1.1 * whole, "microbatch_size": None}]) == []
