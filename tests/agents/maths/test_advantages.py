"""Advantages against hand-computed numbers and slow loops over single episodes and completions."""

import statistics

import numpy as np
import pytest
import torch
from torch import Tensor

from textrl_env.agents.maths import gae, group_normalised, others_mean, returns_to_go, to_tokens


def batch(seed: int = 0, b: int = 6, c: int = 7) -> tuple[Tensor, Tensor, Tensor, Tensor, list[int]]:
    rng = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(b, c, generator=rng).double(), torch.randn(b, c, generator=rng).double()
    lengths = [1, c, *torch.randint(1, c + 1, (b - 2,), generator=rng).tolist()]
    mask = torch.arange(c)[None] < torch.tensor(lengths)[:, None]
    bootstrap = torch.where(torch.tensor([0, 1, 0, 0, 0, 0][:b]).bool(), torch.randn(b, generator=rng).double(), 0.0)
    return rewards, values, bootstrap, mask, lengths


def test_numbers_worked_out_by_hand() -> None:
    """Deltas of row 0: 1 + 0.5·4 - 2 = 1, 0 + 0.5·6 - 4 = -1, 3 - 6 = -3; of row 1, cut before V = 10: 2 + 5 - 1."""
    advantages, returns = gae(
        torch.tensor([[1.0, 0.0, 3.0], [2.0, 99.0, 99.0]]),
        torch.tensor([[2.0, 4.0, 6.0], [1.0, 99.0, 99.0]]),
        torch.tensor([0.0, 10.0]),
        torch.tensor([[True, True, True], [True, False, False]]),
        gamma=0.5,
        lam=0.5,
    )
    assert advantages.tolist() == [[1 + 0.25 * (-1 + 0.25 * -3), -1 + 0.25 * -3, -3.0], [6.0, 0.0, 0.0]]
    assert returns.tolist() == [[2.5625, 2.25, 3.0], [7.0, 0.0, 0.0]]


@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize("lam", [0.0, 0.5, 0.95, 1.0])
def test_is_the_weighted_sum_of_n_step_advantages(gamma: float, lam: float) -> None:
    """Equation 16 in its first form: (1 - λ)(A¹ + λA² + …), the last n-step advantage taking the rest of the weight."""
    rewards, values, bootstrap, mask, lengths = batch()
    advantages, _ = gae(rewards, values, bootstrap, mask, gamma=gamma, lam=lam)
    for row, length in enumerate(lengths):
        after = [*values[row, :length].tolist(), float(bootstrap[row])]
        for t in range(length):
            total = 0.0
            for n in range(1, length - t + 1):
                step = sum(gamma**i * float(rewards[row, t + i]) for i in range(n)) + gamma**n * after[t + n] - after[t]
                total += step * (lam ** (n - 1) if n == length - t else (1 - lam) * lam ** (n - 1))
            assert float(advantages[row, t]) == pytest.approx(total, abs=1e-10)


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_lambda_one_is_returns_minus_values_and_lambda_zero_the_td_error(gamma: float) -> None:
    rewards, values, bootstrap, mask, lengths = batch(seed=1)
    monte_carlo, returns = gae(rewards, values, bootstrap, mask, gamma=gamma, lam=1.0)
    td, _ = gae(rewards, values, bootstrap, mask, gamma=gamma, lam=0.0)
    for row, length in enumerate(lengths):
        following = float(bootstrap[row])
        ahead = float(bootstrap[row])
        for t in reversed(range(length)):
            following = float(rewards[row, t]) + gamma * following
            assert float(returns[row, t]) == pytest.approx(following)
            assert float(monte_carlo[row, t]) == pytest.approx(following - float(values[row, t]))
            assert float(td[row, t]) == pytest.approx(float(rewards[row, t]) + gamma * ahead - float(values[row, t]))
            ahead = float(values[row, t])


def test_junk_under_the_mask_changes_nothing() -> None:
    rewards, values, bootstrap, mask, _ = batch(seed=2)
    clean = gae(rewards, values, bootstrap, mask, gamma=0.9, lam=0.8)
    for junk in (1e9, float("nan"), -float("inf")):
        dirty = gae(
            rewards.masked_fill(~mask, junk), values.masked_fill(~mask, junk), bootstrap, mask, gamma=0.9, lam=0.8
        )
        for one, other in zip(clean, dirty, strict=True):
            assert torch.equal(one, other)
            assert not one[~mask].any()


def learned_value(*, bootstraps: bool, gamma: float) -> float:
    """The value of a one-token episode with reward 1, learned by repeatedly setting V to its λ-return."""
    value = torch.zeros(1, 1)
    for _ in range(200):
        bootstrap = value[:, 0] if bootstraps else torch.zeros(1)
        _, value = gae(torch.ones(1, 1), value, bootstrap, torch.ones(1, 1, dtype=torch.bool), gamma=gamma, lam=0.95)
    return float(value)


def test_an_end_is_no_cut() -> None:
    """Negative control: bootstrapping on top of a paid score learns 1 / (1 - γ) instead of 1."""
    assert learned_value(bootstraps=False, gamma=0.9) == pytest.approx(1.0)
    assert learned_value(bootstraps=True, gamma=0.9) == pytest.approx(10.0, rel=1e-3)
    assert np.isfinite(learned_value(bootstraps=True, gamma=1.0))
    assert learned_value(bootstraps=True, gamma=1.0) > 100


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
