"""The learning-rate schedule of supervised training: up, then down to almost nothing, once."""

from collections.abc import Sequence

import torch


def one_cycle(
    optimizer: torch.optim.Optimizer,
    *,
    peak: float | Sequence[float],
    n_steps: int,
    warmup_fraction: float = 0.1,
    done: int = 0,
) -> torch.optim.lr_scheduler.OneCycleLR:
    """Rises from peak / 25 over `warmup_fraction` of `n_steps`, then falls on a cosine (Smith & Topin 2018).

    Call `step()` after each of the `n_steps` optimizer steps.

    Args:
        optimizer: its parameter groups follow the schedule.
        peak: highest learning rate, of all groups or of each.
        n_steps: optimizer steps in all.
        warmup_fraction: share of them over which the rate rises.
        done: how many were made before; a resumed training goes on after them.
    """
    # torch divides by zero where the warm-up has exactly one step; one step more in all keeps clear of the end.
    total, warmup = n_steps + 1, warmup_fraction
    if warmup * total == 1:
        warmup *= 1 + 1e-6
    highest = peak if isinstance(peak, float | int) else list(peak)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=highest, total_steps=total, pct_start=warmup)
    if done:
        schedule.load_state_dict({"last_epoch": done - 1, "_step_count": done + 1})
        schedule.step()
    return schedule
