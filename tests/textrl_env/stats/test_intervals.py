"""Intervals that cover as often as they say, wins with ties, and diversity by hand."""

import numpy as np
import pytest
from scipy import stats

from textrl_env.stats import bootstrap_interval, student_interval
from textrl_env.stats.comparison import distinct_n, wins


@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_the_interval_covers_the_mean_as_often_as_it_says(confidence: float) -> None:
    rng, hits, trials = np.random.default_rng(0), 0, 300
    for _ in range(trials):
        values = rng.exponential(size=60)
        low, high = bootstrap_interval(values, rng=rng, confidence=confidence, resamples=300)
        hits += low <= 1.0 <= high
    assert abs(hits / trials - confidence) < 0.06


def test_the_interval_is_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, size=400)
    low, high = bootstrap_interval(values, rng=np.random.default_rng(0))
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert bootstrap_interval([2.5], rng=np.random.default_rng(0)) == (2.5, 2.5)
    again = bootstrap_interval(values, rng=np.random.default_rng(0))
    assert again == (low, high)


@pytest.mark.parametrize("n", [2, 5, 30])
def test_students_interval_is_scipys(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    error = values.std(ddof=1) / n**0.5
    expected = stats.t.interval(0.9, n - 1, loc=values.mean(), scale=error)
    assert student_interval(values, confidence=0.9) == pytest.approx(expected, abs=0.02 * (expected[1] - expected[0]))


def test_wins_count_ties_as_half() -> None:
    assert wins([1.0, 2.0, 3.0, 0.0], [0.0, 2.0, 4.0, 0.0]).tolist() == [1.0, 0.5, 0.0, 0.5]
    first, second = np.random.default_rng(2).integers(4, size=(2, 100))
    np.testing.assert_allclose(wins(first, second) + wins(second, first), 1.0)


def test_distinct_n_by_hand() -> None:
    texts = ["a b a b", "a b c"]
    # Words a b a b a b c; bigrams ab ba ab ab bc.
    assert distinct_n(texts, 1) == pytest.approx(3 / 7)
    assert distinct_n(texts, 2) == pytest.approx(3 / 5)
    assert distinct_n(texts, 4) == 1.0
    assert distinct_n(["", "a"], 2) == 0.0 and distinct_n([], 1) == 0.0
