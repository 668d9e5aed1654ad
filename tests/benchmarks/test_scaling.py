"""The benchmark of growth: what counts as linear."""

from collections.abc import Callable
from typing import Any

from scaling import AXES, judge


def rows(seconds: Callable[[int], float], peak_mb: Callable[[int], float] = float) -> list[dict[str, Any]]:
    return [
        {
            "axis": "completions",
            "microbatch_size": 16,
            "completions": size.completions,
            "tokens": size.tokens,
            "vocabulary": size.vocabulary,
            "seconds": seconds(size.completions),
            "peak_mb": peak_mb(size.completions),
        }
        for size in AXES["completions"]
    ]


def holds(measured: list[dict[str, Any]]) -> list[bool]:
    return [row["holds"] for row in judge(measured)]


def test_linear_growth_with_or_without_a_fixed_part_holds_and_faster_growth_does_not() -> None:
    assert holds(rows(lambda n: 0.01 * n)) == [True, True]
    assert holds(rows(lambda n: 3 + 0.01 * n)) == [True, True]
    assert holds(rows(lambda n: n**1.2)) == [False, True]
    # A fixed part must not hide what comes later.
    assert holds(rows(lambda n: 1 + 0.001 * n + 1e-4 * n**2)) == [False, True]
    assert holds(rows(float, lambda n: n * n)) == [True, False]


def test_a_tensor_of_all_completions_logits_is_noticed() -> None:
    largest = AXES["vocabulary"][-1]
    logits = largest.completions * largest.tokens * largest.vocabulary * 4 / 2**20

    def peak(microbatch: int, kept: float) -> float:
        """Three copies of a microbatch's logits, what models take, and what is kept of all completions' logits."""
        return 3 * logits * microbatch / largest.completions + 200 + kept * logits

    for kept, fine in ((0.0, True), (1.0, False)):
        measured = [
            {
                "axis": "vocabulary",
                "completions": largest.completions,
                "tokens": largest.tokens,
                "seconds": 1.0,
                "vocabulary": largest.vocabulary,
                "microbatch_size": given,
                "peak_mb": peak(rows, kept),
            }
            for given, rows in ((None, largest.completions), (16, 16))
        ]
        assert holds(measured) == [fine]
        assert holds(measured[1:]) == [], "nothing to compare with"
