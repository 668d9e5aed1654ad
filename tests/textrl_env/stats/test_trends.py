"""The Mann-Kendall test against all orders of a series, and against noise."""

import tracemalloc
from itertools import permutations

import numpy as np
import pytest

from textrl_env.stats import mann_kendall


def test_a_steady_rise_is_the_hand_computed_z() -> None:
    assert mann_kendall(range(10)) == pytest.approx((45 - 1) / 125**0.5)
    assert mann_kendall(range(10, 0, -1)) == pytest.approx(-(45 - 1) / 125**0.5)


@pytest.mark.parametrize("series", [[1, 2, 3, 4, 5, 6, 7], [1, 1, 2, 2, 2, 3, 4], [0, 0, 0, 0, 0, 0, 1]])
def test_the_variance_is_that_over_all_orders(series: list[int]) -> None:
    """z = (S - sign S) / sd, so a known S gives the sd back; the true one is that over all permutations."""

    def s(order: tuple[int, ...]) -> int:
        return sum(np.sign(late - early) for i, early in enumerate(order) for late in order[i + 1 :])

    sd = float(np.std([s(order) for order in permutations(series)]))
    rise = s(tuple(series))
    assert mann_kendall(series) == pytest.approx((rise - 1) / sd)


def test_noise_has_no_trend_more_often_than_the_level_says() -> None:
    rng = np.random.default_rng(0)
    z = np.array([mann_kendall(rng.standard_cauchy(20)) for _ in range(4000)])
    assert np.mean(z > 2.33) == pytest.approx(0.01, abs=0.005)
    assert np.mean(z < -1.645) == pytest.approx(0.05, abs=0.01)


def test_only_the_order_counts_and_little_data_has_no_trend() -> None:
    x = np.random.default_rng(1).normal(size=15)
    assert mann_kendall(np.exp(x)) == mann_kendall(x) == -mann_kendall(-x)
    assert mann_kendall([]) == mann_kendall([1.0, 2.0]) == mann_kendall([3.0] * 12) == 0.0


@pytest.mark.parametrize("n", [3, 4, 7, 64, 129])
def test_it_counts_every_pair_ties_among_them(n: int) -> None:
    rng = np.random.default_rng(n)
    for values in (rng.normal(size=n), rng.integers(4, size=n).astype(float)):
        pairs = [(values[i], values[j]) for i in range(n) for j in range(i + 1, n)]
        s = sum(int(later > earlier) - int(later < earlier) for earlier, later in pairs)
        ties = np.unique(values, return_counts=True)[1]
        variance = (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18
        assert mann_kendall(values) == pytest.approx((s - np.sign(s)) / variance**0.5)


def test_a_long_series_takes_no_more_memory_than_a_few_copies_of_it() -> None:
    """A matrix of its pairs would be 1.6 GB."""
    values = np.random.default_rng(0).normal(size=14_000)
    tracemalloc.start()
    z = mann_kendall(values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert abs(z) < 4 and peak < 10 * values.nbytes
