"""The learning-rate schedule of supervised training: up, then down to almost nothing, once."""

import torch


def one_cycle(
    optimizer: torch.optim.Optimizer, *, peak: float, n_steps: int, warmup_fraction: float = 0.1
) -> torch.optim.lr_scheduler.OneCycleLR:
    """Rises from peak / 25 over `warmup_fraction` of `n_steps`, then falls on a cosine (Smith & Topin 2018).

    Call `step()` after each of the `n_steps` optimizer steps.
    """
    # torch divides by zero where the warm-up has exactly one step; one step more in all keeps clear of the end.
    total, warmup = n_steps + 1, warmup_fraction
    if warmup * total == 1:
        warmup *= 1 + 1e-6
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=peak, total_steps=total, pct_start=warmup)
