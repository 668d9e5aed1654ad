"""Losses against slow loops, against other programs' fits of the same models, and where two of them must agree."""

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import choix
import numpy as np
import pytest
import torch
from statsmodels.miscmodels.ordinal_model import OrderedModel
from torch import Tensor

from textrl_env.reward_models.feedback.raters import fit_plackett_luce
from textrl_env.reward_models.training.losses import (
    bradley_terry_loss,
    davidson_loss,
    ordinal_loss,
    plackett_luce_loss,
    ranking_pairs,
    rising,
)


def slow(differences: list[float], probabilities: list[float]) -> float:
    total = 0.0
    for difference, p in zip(differences, probabilities, strict=True):
        preferred = 1 / (1 + math.exp(-difference))
        total -= p * math.log(preferred) + (1 - p) * math.log(1 - preferred)
    return total / len(differences)


def minimum(loss: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """Where a loss of (N,) float64 numbers is least."""
    at = start.double().clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [at], max_iter=500, tolerance_grad=1e-10, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(at)
        value.backward()
        return value

    optimizer.step(closure)
    return at.detach()


def test_bradley_terry_is_a_slow_loop() -> None:
    differences = [-3.0, -0.5, 0.0, 0.1, 2.0, 5.0]
    tensor = torch.tensor(differences, dtype=torch.float64)
    assert float(bradley_terry_loss(tensor).mean()) == pytest.approx(slow(differences, [1.0] * 6))
    labels = [0.5, 0.7, 1.0, 0.9, 0.2, 0.0]
    found = bradley_terry_loss(tensor, torch.tensor(labels, dtype=torch.float64))
    assert float(found.mean()) == pytest.approx(slow(differences, labels))


def test_no_opinion_costs_log_2_and_extremes_stay_finite() -> None:
    assert float(bradley_terry_loss(torch.zeros(1))) == pytest.approx(math.log(2))
    wide = torch.tensor([300.0, -300.0])
    assert bradley_terry_loss(wide).tolist() == pytest.approx([0.0, 300.0])
    assert bradley_terry_loss(wide, torch.tensor([1.0, 0.0])).tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


@pytest.mark.parametrize("label", [0.5, 0.8, 0.95])
def test_a_soft_label_is_the_probability_at_which_the_loss_is_least(label: float) -> None:
    found = minimum(lambda at: bradley_terry_loss(at, label).sum(), torch.zeros(1))
    assert float(torch.sigmoid(found)) == pytest.approx(label, abs=1e-6)


def test_both_orders_of_a_pair_say_the_same() -> None:
    difference, label = torch.tensor([0.3, -2.0]), torch.tensor([0.7, 0.9])
    torch.testing.assert_close(bradley_terry_loss(difference, label), bradley_terry_loss(-difference, 1 - label))


DIFFERENCES = torch.tensor([-40.0, -2.0, 0.0, 0.3, 5.0], dtype=torch.float64)
NEVER, ALWAYS = torch.zeros(5, dtype=torch.bool), torch.ones(5, dtype=torch.bool)


@pytest.mark.parametrize("log_tie", [-3.0, 0.0, 1.5])
def test_davidson_gives_every_pair_three_outcomes_that_sum_to_one(log_tie: float) -> None:
    nu, certain = torch.tensor([log_tie], dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    win = davidson_loss(DIFFERENCES, certain, NEVER, nu)
    loss = davidson_loss(DIFFERENCES, 0 * certain, NEVER, nu)
    tie = davidson_loss(DIFFERENCES, certain, ALWAYS, nu)
    torch.testing.assert_close((-torch.stack([win, loss, tie])).exp().sum(0), certain)
    torch.testing.assert_close(tie, davidson_loss(-DIFFERENCES, certain, ALWAYS, nu))
    torch.testing.assert_close(win, davidson_loss(-DIFFERENCES, 0 * certain, NEVER, nu))
    # Davidson's equation 1 for the middle pair, which is even: nu against one and one.
    assert float(tie[2].neg().exp()) == pytest.approx(math.exp(log_tie) / (2 + math.exp(log_tie)))


def test_davidson_where_nobody_ties_is_bradley_terry() -> None:
    label = torch.tensor([1.0, 0.7, 1.0, 0.9, 0.6], dtype=torch.float64)
    found = davidson_loss(DIFFERENCES, label, NEVER, torch.tensor([-60.0], dtype=torch.float64))
    torch.testing.assert_close(found, bradley_terry_loss(DIFFERENCES, label))


def test_the_least_davidson_loss_is_where_newtons_method_finds_it() -> None:
    choices = [(0, 1), (0, 1), (1, 0), (1, 2), (2, 3), (3, 0), (0, 2), (1, 3), (3, 2)]
    ties = [(0, 1), (2, 3), (1, 2), (0, 3)]
    first, second = torch.tensor([*choices, *ties]).T
    tie = torch.arange(len(first)) >= len(choices)
    certain = torch.ones(len(first), dtype=torch.float64)

    def loss(at: Tensor) -> Tensor:
        return davidson_loss(at[first] - at[second], certain, tie, at[4:]).sum() + at[:4].sum() ** 2

    found, fit = minimum(loss, torch.zeros(5)), fit_plackett_luce(4, choices, ties=ties)
    np.testing.assert_allclose(found[:4], fit.log_worth, atol=1e-5)
    assert float(found[4]) == pytest.approx(fit.log_tie, abs=1e-5)


def slow_plackett_luce(scores: Sequence[float]) -> list[float]:
    return [math.log(sum(math.exp(other - scores[k]) for other in scores[k:])) for k in range(len(scores) - 1)]


def test_plackett_luce_is_a_slow_loop_over_rankings_of_any_length() -> None:
    sizes = [3, 2, 6, 2]
    scores = torch.randn(sum(sizes), generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    expected = [each for part in scores.split(sizes) for each in slow_plackett_luce(part.tolist())]
    assert plackett_luce_loss(scores, sizes).tolist() == pytest.approx(expected)


def test_plackett_luce_of_pairs_is_bradley_terry_and_its_gradients_are_right() -> None:
    scores = torch.randn(8, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(plackett_luce_loss(scores, [2] * 4), bradley_terry_loss(scores[::2] - scores[1::2]))
    assert torch.autograd.gradcheck(lambda scores: plackett_luce_loss(scores, [3, 5]), scores)
    wide = torch.tensor([0.0, 80.0, -80.0, 5.0, 5.0], requires_grad=True)
    plackett_luce_loss(wide, [3, 2]).sum().backward()
    assert wide.grad is not None
    assert wide.grad.tolist() == pytest.approx([-1.0, 1.0, 0.0, -0.5, 0.5], abs=1e-5)


def test_the_least_plackett_luce_loss_is_where_choix_finds_it() -> None:
    rng = np.random.default_rng(0)
    worth = np.array([1.0, 0.0, -0.5, 0.5])
    rankings = [np.argsort(-(worth + rng.gumbel(size=4))).tolist()[: rng.integers(3, 5)] for _ in range(60)]
    order, sizes = torch.tensor([item for ranking in rankings for item in ranking]), [len(r) for r in rankings]
    found = minimum(lambda at: plackett_luce_loss(at[order], sizes).sum() + at.sum() ** 2, torch.zeros(4))
    np.testing.assert_allclose(found, choix.opt_rankings(4, rankings), atol=1e-4)


def test_the_least_ordinal_loss_is_where_statsmodels_finds_it() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    category = np.digitize(1.7 * x + rng.logistic(size=400), [-2.0, 0.0, 0.4, 3.0])
    theirs = OrderedModel(category, x[:, None], distr="logit").fit(method="bfgs", disp=False)
    at, target = torch.tensor(x), torch.tensor(category)
    found = minimum(lambda free: ordinal_loss(free[0] * at, target, rising(free[1:])).mean(), torch.ones(5))
    # Their parameters are ours: the slope, the first cutpoint, the logarithms of the steps.
    np.testing.assert_allclose(found, theirs.params, atol=2e-3)
    assert float(ordinal_loss(found[0] * at, target, rising(found[1:])).sum()) == pytest.approx(-theirs.llf, abs=1e-4)


def test_ordinal_probabilities_sum_to_one_and_stay_finite_far_out() -> None:
    cutpoints = torch.tensor([-1.0, 0.5, 0.5001, 4.0], dtype=torch.float64)
    for score in (-2.0, 0.0, 3.0):
        scores = torch.full((5,), score, dtype=torch.float64)
        total = (-ordinal_loss(scores, torch.arange(5), cutpoints)).exp().sum()
        assert float(total) == pytest.approx(1.0)
    far = torch.tensor([-300.0, 300.0], requires_grad=True)
    ordinal_loss(far, torch.tensor([4, 0]), cutpoints.float()).sum().backward()
    assert far.grad is not None and far.grad.tolist() == pytest.approx([-1.0, 1.0])


@pytest.mark.parametrize("sizes", [[2], [4], [2, 3, 5], [3, 2]])
def test_pairs_are_all_combinations_within_each_ranking(sizes: list[int]) -> None:
    better, worse = ranking_pairs(sizes)
    expected, start = [], 0
    for size in sizes:
        expected += list(combinations(range(start, start + size), 2))
        start += size
    # In order too: soft labels of a ranking's pairs are listed in it.
    assert list(zip(better.tolist(), worse.tolist(), strict=True)) == expected
