"""The Mann-Kendall test against all orders of a series, and against noise."""

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
