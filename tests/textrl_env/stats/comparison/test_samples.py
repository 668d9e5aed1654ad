"""Best-of-n from a pool, held against every subset of it."""

from itertools import combinations

import numpy as np
import pytest

from textrl_env import InputError
from textrl_env.stats.comparison import best_of_n_kl, chance_of_best, expected_best


def test_the_estimate_is_the_mean_over_all_subsets() -> None:
    scores = np.random.default_rng(0).normal(size=(3, 7))
    for n in range(1, 8):
        slow = [np.mean([max(subset) for subset in combinations(row, n)]) for row in scores.tolist()]
        np.testing.assert_allclose(expected_best(scores, n), slow)
    with pytest.raises(InputError, match="best of 8 cannot be estimated from 7"):
        expected_best(scores, 8)


def test_each_is_the_best_as_often_as_in_all_subsets_and_equals_share() -> None:
    for scores in ([3.0, 1.0, 3.0, 2.0, 3.0, 0.0], [1.0] * 5, [0.1, 0.5, 0.2, 0.4]):
        for n in range(1, len(scores) + 1):
            slow = np.zeros(len(scores))
            subsets = list(combinations(range(len(scores)), n))
            for subset in subsets:
                best = [index for index in subset if scores[index] == max(scores[other] for other in subset)]
                slow[best] += 1 / len(best) / len(subsets)
            np.testing.assert_allclose(chance_of_best(scores, n), slow, atol=1e-12)


def test_large_pools_keep_their_digits() -> None:
    chances = chance_of_best(np.arange(2000.0), 1000)
    assert chances.sum() == pytest.approx(1, abs=1e-12) and chances[-1] == pytest.approx(0.5)


def test_one_of_one_costs_nothing_and_more_costs_more() -> None:
    costs = [best_of_n_kl(n) for n in (1, 2, 4, 1024)]
    assert costs == pytest.approx([0, 0.193147, 0.636294, 5.932448], abs=1e-6)
