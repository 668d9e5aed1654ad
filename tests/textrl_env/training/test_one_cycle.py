"""The schedule reaches its peak once and comes down, for any number of steps."""

import pytest
import torch

from textrl_env.training import one_cycle


@pytest.mark.parametrize("n_steps", [1, 2, 9, 10, 11, 100])
@pytest.mark.parametrize("warmup_fraction", [0.1, 0.5, 0.01])
def test_it_rises_to_the_peak_and_falls(n_steps: int, warmup_fraction: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = one_cycle(optimizer, peak=0.3, n_steps=n_steps, warmup_fraction=warmup_fraction)
    rates = []
    for _ in range(n_steps):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    top = rates.index(max(rates))
    assert max(rates) <= 0.3 + 1e-12
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    if n_steps == 100:
        assert max(rates) > 0.29
        assert rates[-1] < 0.003


@pytest.mark.parametrize("done", [0, 1, 4, 10])
def test_taken_up_after_some_steps_it_goes_on_as_if_it_had_not_stopped(done: int) -> None:
    def rates(done: int) -> list[tuple[float, ...]]:
        groups = [{"params": [torch.zeros(1, requires_grad=True)]} for _ in range(2)]
        optimizer = torch.optim.AdamW(groups, lr=1.0)
        schedule = one_cycle(optimizer, peak=[0.3, 0.01], n_steps=10, steps_before=done)
        found = []
        for _ in range(done, 10):
            found.append(tuple(x for group in optimizer.param_groups for x in (group["lr"], *group["betas"])))
            optimizer.step()
            schedule.step()
        return found

    assert rates(done) == rates(0)[done:]
