"""Baselines from other completions, against loops."""

import statistics

import pytest
import torch

from textrl_env.agents.maths import group_normalised, others_mean, returns_to_go, to_tokens


def test_the_baseline_is_the_mean_of_the_others_and_groups_sum_to_zero() -> None:
    returns = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    baseline = others_mean(returns)
    for row in range(5):
        for one in range(4):
            others = [float(returns[row, other]) for other in range(4) if other != one]
            assert float(baseline[row, one]) == pytest.approx(statistics.mean(others))
    assert (returns - baseline).sum(dim=1).abs().max() < 1e-12
    # Changing a return leaves its own baseline as it was.
    changed = returns.clone()
    changed[2, 1] += 100
    assert float(others_mean(changed)[2, 1]) == pytest.approx(float(baseline[2, 1]))


def test_groups_are_normalised_each_for_itself() -> None:
    returns = 7 * torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 2
    returns[2] = 5.0
    advantages = group_normalised(returns)
    for row in range(2):
        values = returns[row].tolist()
        expected = [(x - statistics.mean(values)) / (statistics.stdev(values) + 1e-4) for x in values]
        assert advantages[row].tolist() == pytest.approx(expected)
    assert not advantages[2].any()


def test_returns_to_go_equal_a_loop_and_tokens_get_their_completions_advantage() -> None:
    generator = torch.Generator().manual_seed(2)
    rewards = torch.randn(3, 5, dtype=torch.float64, generator=generator)
    mask = torch.arange(5) < torch.tensor([[5], [2], [1]])
    returns = returns_to_go(rewards.masked_fill(~mask, 1e9), mask, gamma=0.9)
    for row, length in enumerate((5, 2, 1)):
        for start in range(length):
            expected = sum(0.9 ** (t - start) * float(rewards[row, t]) for t in range(start, length))
            assert float(returns[row, start]) == pytest.approx(expected)
    assert not returns[~mask].any()
    spread = to_tokens(torch.tensor([[1.0, 2.0, 3.0]]), mask)
    assert spread.tolist() == [[1] * 5, [2, 2, 0, 0, 0], [3, 0, 0, 0, 0]]
