"""Generalized advantage estimation over whole completions."""

import torch
from torch import Tensor


def gae(
    rewards: Tensor, values: Tensor, bootstrap: Tensor, mask: Tensor, *, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Generalized advantage estimation, one completion per row (Schulman et al. 2016, eq. 16).

    delta_t = r_t + gamma V_{t+1} - V_t,   A_t = delta_t + gamma lam A_{t+1};
    after the last counted token V is `bootstrap`.

    Args:
        rewards, values, mask: (B, C); mask is True on the tokens that count, which come first in each row.
        bootstrap: (B,), 0 where the episode terminated, V(s_C) where it was cut.

    Returns:
        advantages, returns: (B, C), zero where mask is False.
    """
    advantages = torch.zeros_like(rewards)
    following_value, following_advantage = bootstrap, torch.zeros_like(bootstrap)
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * following_value - values[:, t]
        advantage = delta + gamma * lam * following_advantage
        counted = mask[:, t]
        advantages[:, t] = torch.where(counted, advantage, 0.0)
        following_value = torch.where(counted, values[:, t], following_value)
        following_advantage = torch.where(counted, advantage, following_advantage)
    return advantages, torch.where(mask, advantages + values, 0.0)


def returns_to_go(rewards: Tensor, mask: Tensor, *, gamma: float) -> Tensor:
    """Discounted rewards from each counted token on, 0 elsewhere: (B, C), (B, C) -> (B, C).

    G_t = r_t + gamma G_{t+1}; the first column is the return of the whole completion. Nothing stands for what would
    have followed a completion that was cut.
    """
    nothing = torch.zeros_like(rewards)
    return gae(rewards, nothing, nothing[:, 0], mask, gamma=gamma, lam=1.0)[1]
