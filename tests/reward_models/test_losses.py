"""Bradley-Terry against a slow loop, and the pairs of a ranking against itertools."""

import math
from itertools import combinations

import pytest
import torch

from textrl_env.reward_models.losses import bradley_terry_loss, ranking_pairs


def slow(differences: list[float], probabilities: list[float]) -> float:
    total = 0.0
    for difference, p in zip(differences, probabilities, strict=True):
        preferred = 1 / (1 + math.exp(-difference))
        total -= p * math.log(preferred) + (1 - p) * math.log(1 - preferred)
    return total / len(differences)


def test_the_loss_is_that_of_a_slow_loop() -> None:
    differences = [-3.0, -0.5, 0.0, 0.1, 2.0, 5.0]
    tensor = torch.tensor(differences, dtype=torch.float64)
    assert float(bradley_terry_loss(tensor).mean()) == pytest.approx(slow(differences, [1.0] * 6))
    labels = [0.5, 0.7, 1.0, 0.9, 0.2, 0.0]
    found = bradley_terry_loss(tensor, torch.tensor(labels, dtype=torch.float64)).mean()
    assert float(found) == pytest.approx(slow(differences, labels))


def test_no_opinion_costs_log_2_and_extremes_stay_finite() -> None:
    assert float(bradley_terry_loss(torch.zeros(3)).mean()) == pytest.approx(math.log(2))
    wide = torch.tensor([300.0, -300.0])
    assert float(bradley_terry_loss(wide).mean()) == pytest.approx(150.0)
    assert float(bradley_terry_loss(wide, torch.tensor([1.0, 0.0])).mean()) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("label", [0.5, 0.8, 0.95])
def test_a_soft_label_is_the_probability_at_which_the_loss_is_least(label: float) -> None:
    grid = torch.linspace(-6, 6, 2401, dtype=torch.float64)
    losses = bradley_terry_loss(grid, label)
    assert float(torch.sigmoid(grid[losses.argmin()])) == pytest.approx(label, abs=2e-3)


def test_both_orders_of_a_pair_say_the_same() -> None:
    difference, label = torch.tensor([0.3, -2.0]), torch.tensor([0.7, 0.9])
    torch.testing.assert_close(bradley_terry_loss(difference, label), bradley_terry_loss(-difference, 1 - label))


@pytest.mark.parametrize("sizes", [[2], [4], [2, 3, 5], [3, 2]])
def test_pairs_are_all_combinations_within_each_ranking(sizes: list[int]) -> None:
    better, worse = ranking_pairs(sizes)
    expected, start = [], 0
    for size in sizes:
        expected += list(combinations(range(start, start + size), 2))
        start += size
    # In order too: soft labels of a ranking's pairs are listed in it.
    assert list(zip(better.tolist(), worse.tolist(), strict=True)) == expected
