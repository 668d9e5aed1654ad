"""AdamW on float32 copies: it is torch's AdamW, and small steps on bfloat16 weights are not lost."""

import torch
from torch import nn
from torch.testing import assert_close

from textrl_env.training import adamw
from textrl_env.training.optimizer import MasterAdamW


def quadratic_steps(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, n: int) -> None:
    for _ in range(n):
        optimizer.zero_grad()
        ((parameter.float() - 3) ** 2).sum().backward()
        optimizer.step()


def test_float32_parameters_get_torchs_own() -> None:
    assert type(adamw([nn.Parameter(torch.ones(2))], lr=0.1)) is torch.optim.AdamW
    assert type(adamw([nn.Parameter(torch.ones(2, dtype=torch.bfloat16))], lr=0.1)) is MasterAdamW


def test_equals_torchs_adamw_on_float32() -> None:
    ours, theirs = (nn.Parameter(torch.linspace(-2, 2, 7)) for _ in range(2))
    quadratic_steps(MasterAdamW([ours], lr=0.05, weight_decay=0.1), ours, 20)
    quadratic_steps(torch.optim.AdamW([theirs], lr=0.05, weight_decay=0.1), theirs, 20)
    assert_close(ours, theirs)


def test_steps_below_the_resolution_of_bfloat16_add_up() -> None:
    ours, rounded = (nn.Parameter(torch.ones(4, dtype=torch.bfloat16)) for _ in range(2))
    quadratic_steps(MasterAdamW([ours], lr=1e-3), ours, 100)
    quadratic_steps(torch.optim.AdamW([rounded], lr=1e-3), rounded, 100)
    assert (ours.float() - 1.1).abs().max() < 0.02
    assert (rounded.float() == 1).all()  # the wrong way: every step is rounded away


def test_saved_and_loaded_it_goes_on_as_if_never_stopped() -> None:
    whole, first = (nn.Parameter(torch.ones(4, dtype=torch.bfloat16)) for _ in range(2))
    quadratic_steps(MasterAdamW([whole], lr=1e-3), whole, 9)
    before = MasterAdamW([first], lr=1e-3)
    quadratic_steps(before, first, 4)
    second = nn.Parameter(first.detach().clone())
    after = MasterAdamW([second], lr=1e-3)
    after.load_state_dict(before.state_dict())
    assert after.state[second]["master"].dtype == torch.float32
    quadratic_steps(after, second, 5)
    assert torch.equal(second, whole)


def test_frozen_parameters_are_left_out() -> None:
    frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    trained = nn.Parameter(torch.ones(2))
    assert adamw([frozen, trained], lr=0.1).param_groups[0]["params"] == [trained]
