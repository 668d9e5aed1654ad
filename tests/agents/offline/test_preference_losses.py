"""DPO, IPO and KTO as functions of log-ratios: loops, gradients and where they are least."""

import math

import pytest
import torch
from torch import Tensor

from textrl_env.agents.offline.dpo import dpo_loss, ipo_loss
from textrl_env.agents.offline.kto import kto_loss

M = 7


def draws(n: int, *, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [2 * torch.randn(M, dtype=torch.float64, generator=generator) for _ in range(n)]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_losses_equal_loops() -> None:
    chosen, rejected, raw = draws(3)
    probability, beta = torch.sigmoid(raw), 0.3
    dpo, ipo = 0.0, 0.0
    for c, r, p in zip(chosen.tolist(), rejected.tolist(), probability.tolist(), strict=True):
        dpo -= p * math.log(sigmoid(beta * (c - r))) + (1 - p) * math.log(1 - sigmoid(beta * (c - r)))
        ipo += p * (c - r - 1 / (2 * beta)) ** 2 + (1 - p) * (r - c - 1 / (2 * beta)) ** 2
    assert float(dpo_loss(chosen, rejected, probability, beta=beta)) == pytest.approx(dpo / M)
    assert float(ipo_loss(chosen, rejected, probability, beta=beta)) == pytest.approx(ipo / M)
    desirable, kl = raw > 0, torch.tensor(0.4)
    kto = 0.0
    for ratio, good in zip(chosen.tolist(), desirable.tolist(), strict=True):
        kto += 2.0 * (1 - sigmoid(beta * (ratio - 0.4))) if good else 3.0 * (1 - sigmoid(beta * (0.4 - ratio)))
    mine = kto_loss(chosen, desirable, kl, beta=beta, desirable_weight=2.0, undesirable_weight=3.0)
    assert float(mine) == pytest.approx(kto / M)


@pytest.mark.parametrize(("loss", "at_zero"), [(dpo_loss, 0.05), (ipo_loss, 1.0)])
def test_at_the_reference_a_plain_choice_pulls_the_two_apart_alike(loss: object, at_zero: float) -> None:
    """DPO's gradient is there -β/2, IPO's -1/β times 1, per pair: (log π(chosen) - log π(rejected)) rises."""
    beta = 0.1 if loss is dpo_loss else 1.0
    chosen, rejected = (torch.zeros(M, dtype=torch.float64, requires_grad=True) for _ in range(2))
    value = loss(chosen, rejected, torch.ones(M), beta=beta)  # type: ignore[operator]
    value.backward()
    assert chosen.grad is not None and rejected.grad is not None
    assert (M * chosen.grad).tolist() == pytest.approx([-at_zero] * M)
    assert (M * rejected.grad).tolist() == pytest.approx([at_zero] * M)


def least(loss: object, probability: float, beta: float) -> float:
    """The difference of log-ratios at which a loss is least, by bisection of its slope."""
    low, high = -500.0, 500.0
    for _ in range(100):
        middle = torch.tensor([(low + high) / 2], dtype=torch.float64, requires_grad=True)
        zero, p = torch.zeros(1, dtype=torch.float64), torch.tensor([probability], dtype=torch.float64)
        loss(middle, zero, p, beta=beta).backward()  # type: ignore[operator]
        at = float(middle.detach())
        low, high = (low, at) if float(middle.grad) > 0 else (at, high)  # type: ignore[arg-type]
    return low


@pytest.mark.parametrize("probability", [0.5, 0.7, 0.95])
@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_where_the_losses_are_least(probability: float, beta: float) -> None:
    """DPO's difference is the log-odds over β: people's score, given up per nat; IPO's is bounded by 1 / 2β."""
    odds = math.log(probability / (1 - probability))
    assert least(dpo_loss, probability, beta) == pytest.approx(odds / beta, abs=1e-6)
    assert least(ipo_loss, probability, beta) == pytest.approx((2 * probability - 1) / (2 * beta), abs=1e-6)


def test_ktos_two_sides_push_apart_and_its_reference_point_has_no_gradient() -> None:
    ratios = torch.tensor([1.0, 1.0], dtype=torch.float64, requires_grad=True)
    kl = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    loss = kto_loss(ratios, torch.tensor([True, False]), kl, beta=1.0, desirable_weight=1.0, undesirable_weight=1.0)
    loss.backward()
    assert ratios.grad is not None
    assert float(ratios.grad[0]) == pytest.approx(-float(ratios.grad[1])) and float(ratios.grad[0]) < 0
    assert kl.grad is None


@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf])
def test_a_completion_of_weight_0_may_have_any_log_ratio(junk: float) -> None:
    ratios = torch.tensor([0.3, junk], requires_grad=True)
    loss = kto_loss(
        ratios,
        torch.tensor([True, False]),
        torch.tensor(0.1),
        beta=1.0,
        desirable_weight=1.0,
        undesirable_weight=0.0,
    )
    loss.backward()
    assert loss.item() == pytest.approx((1 - 1 / (1 + math.exp(-0.2))) / 2)
    assert ratios.grad is not None and ratios.grad.isfinite().all() and ratios.grad[1] == 0
