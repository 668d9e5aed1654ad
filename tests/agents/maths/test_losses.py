"""The losses against slow float64 loops over counted tokens, and what must not change them."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from textrl_env.agents.maths import (
    kl_loss,
    masked_mean,
    policy_gradient_loss,
    ppo_policy_loss,
    value_loss,
    weighted_sum,
    whiten,
)
from textrl_env.agents.on_policy import explained_variance

B, C = 5, 6


def tensors(seed: int, *scales: float) -> list[Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(B, C, generator=rng, dtype=torch.float64) for scale in scales]


@pytest.fixture
def mask() -> Tensor:
    return torch.arange(C)[None] < torch.tensor([1, C, 3, 4, 2])[:, None]


def shares(mask: Tensor) -> Tensor:
    """All counted tokens weigh alike."""
    return mask.double() / mask.sum()


def counted(mask: Tensor) -> list[tuple[int, int]]:
    return [(row, column) for row in range(B) for column in range(C) if mask[row, column]]


@pytest.mark.parametrize("clip_range", [0.05, 0.2, 0.9])
def test_ppo_policy_loss_equals_a_loop(mask: Tensor, clip_range: float) -> None:
    new, old, advantages = tensors(0, 0.4, 0.4, 1.0)
    loss, statistics = ppo_policy_loss(new, old, advantages, shares(mask), clip_range=clip_range)
    total, kl, outside, ratios = 0.0, 0.0, 0, 0.0
    for place in counted(mask):
        ratio = math.exp(new[place]) / math.exp(old[place])
        gain = float(advantages[place])
        total -= min(ratio * gain, min(max(ratio, 1 - clip_range), 1 + clip_range) * gain)
        kl += ratio - 1 - math.log(ratio)
        outside += not 1 - clip_range <= ratio <= 1 + clip_range
        ratios += ratio
    n = len(counted(mask))
    assert float(loss) == pytest.approx(total / n, abs=1e-12)
    assert float(statistics["approx_kl"]) == pytest.approx(kl / n, abs=1e-12)
    assert float(statistics["clip_fraction"]) == pytest.approx(outside / n, abs=1e-7)
    assert float(statistics["ratio"]) == pytest.approx(ratios / n, abs=1e-12)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.5, 1.0, -1.2, 0.0),  # good and already likelier: no further
        (1.5, -1.0, 1.5, 1.5),  # bad and likelier: all the way back
        (0.5, 1.0, -0.5, -0.5),  # good and less likely: all the way back
        (0.5, -1.0, 0.8, 0.0),  # bad and already less likely: no further
        (1.1, 1.0, -1.1, -1.1),
    ],
)
def test_the_clip_stops_the_gradient_only_where_the_ratio_went_too_far(
    ratio: float, advantage: float, loss: float, gradient: float
) -> None:
    logprob = torch.tensor([[math.log(ratio)]], dtype=torch.float64, requires_grad=True)
    value, _ = ppo_policy_loss(
        logprob, torch.zeros(1, 1), torch.full((1, 1), advantage), torch.ones(1, 1), clip_range=0.2
    )
    value.backward()
    assert float(value.detach()) == pytest.approx(loss)
    assert float(logprob.grad) == pytest.approx(gradient)  # type: ignore[arg-type]


@pytest.mark.parametrize("clip_range", [None, 0.1, 0.5])
def test_value_loss_equals_a_loop(mask: Tensor, clip_range: float | None) -> None:
    values, old, returns = tensors(1, 1.0, 1.0, 1.0)
    total = 0.0
    for place in counted(mask):
        v, o, r = float(values[place]), float(old[place]), float(returns[place])
        errors = [(v - r) ** 2]
        if clip_range is not None:
            errors.append((min(max(v, o - clip_range), o + clip_range) - r) ** 2)
        total += 0.5 * max(errors)
    loss = value_loss(values, old, returns, shares(mask), clip_range=clip_range)
    assert float(loss) == pytest.approx(total / len(counted(mask)), abs=1e-12)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "policy": lambda a, b, c, mask: ppo_policy_loss(a, b, c, shares(mask), clip_range=0.2)[0],
    "policy gradient": lambda a, b, c, mask: policy_gradient_loss(a, b, shares(mask)),
    "advantages": lambda a, b, c, mask: policy_gradient_loss(b, a, shares(mask)),
    "k2": lambda a, b, c, mask: kl_loss(a, shares(mask), estimator="k2"),
    "k3": lambda a, b, c, mask: kl_loss(a, shares(mask), estimator="k3"),
    "sum": lambda a, b, c, mask: weighted_sum(a, shares(mask)),
    "value": lambda a, b, c, mask: value_loss(a, b, c, shares(mask), clip_range=None),
    "value, clipped": lambda a, b, c, mask: value_loss(a, b, c, shares(mask), clip_range=0.2),
    "mean": lambda a, b, c, mask: masked_mean(a, mask),
    "whiten": lambda a, b, c, mask: (whiten(a, mask) * torch.where(mask, b, 0.0)).sum(),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("junk", [1e9, -1e4, 1e200, -1e200, math.nan, math.inf, -math.inf])
def test_junk_under_the_mask_changes_neither_values_nor_gradients(name: str, junk: float, mask: Tensor) -> None:
    """Not even by 0 times infinity, on the way back through a square or an exponential."""
    clean = tensors(2, 0.5, 0.5, 1.0)
    losses, gradients = [], []
    for arguments in (clean, [x.masked_fill(~mask, k * junk) for k, x in enumerate(clean, start=1)]):
        first = arguments[0].clone().requires_grad_(True)
        loss = LOSSES[name](first, *arguments[1:], mask)
        losses.append(loss.detach())
        gradients.append(torch.autograd.grad(loss, first)[0])
    assert torch.equal(*losses)
    assert torch.equal(*gradients)
    assert gradients[0][mask].any()
    assert not gradients[0][~mask].any()


def test_whitening_gives_mean_zero_and_variance_one(mask: Tensor) -> None:
    x = 3 * tensors(3, 1.0)[0] + 5
    white = whiten(x, mask)
    assert abs(float(white[mask].mean())) < 1e-10
    assert float(white[mask].std(correction=0)) == pytest.approx(1, abs=1e-6)
    assert not white[~mask].any()
    assert torch.allclose(whiten(7 * x - 2, mask), white, atol=1e-6)
    order = x[mask].argsort()
    assert torch.equal(white[mask].argsort(), order)


def test_whitening_may_keep_the_mean(mask: Tensor) -> None:
    x = 3 * tensors(3, 1.0)[0] + 5
    white = whiten(x, mask, shift_mean=False)
    assert float(white[mask].mean()) == pytest.approx(float(x[mask].mean()))
    assert float(white[mask].std(correction=0)) == pytest.approx(1, abs=1e-6)
    assert not white[~mask].any()


def test_whitening_takes_what_does_not_vary(mask: Tensor) -> None:
    assert not whiten(torch.full((B, C), 4.0), mask).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_explained_variance(mask: Tensor, dtype: torch.dtype) -> None:
    returns = tensors(4, 1.0)[0].to(dtype)
    dirty = returns.masked_fill(~mask, 1e9)
    assert explained_variance(returns, dirty, mask) == pytest.approx(1)
    assert explained_variance(dirty + 3, returns, mask) == pytest.approx(1)
    assert explained_variance(torch.full_like(returns, 2.0), returns, mask) == pytest.approx(0, abs=1e-6)
    assert explained_variance(-returns, returns, mask) == pytest.approx(-3, abs=1e-5)
    assert explained_variance(returns, torch.ones_like(returns), mask) is None


def test_masked_mean_weighs_tokens_alike_whatever_row_they_are_in(mask: Tensor) -> None:
    x: Any = torch.arange(B * C, dtype=torch.float64).reshape(B, C)
    assert float(masked_mean(x, mask)) == sum(float(x[place]) for place in counted(mask)) / len(counted(mask))
