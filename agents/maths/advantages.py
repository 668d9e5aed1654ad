"""Advantages of whole completions: with a critic, and by comparison with other completions where there is none."""

import torch
from torch import Tensor


def gae(
    rewards: Tensor, values: Tensor, bootstrap: Tensor, mask: Tensor, *, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Computes generalized advantage estimates, one completion per row (Schulman et al. 2016, eq. 16).

    delta_t = r_t + gamma V_{t+1} - V_t,   A_t = delta_t + gamma lam A_{t+1};
    after the last counted token V is `bootstrap`.

    Args:
        rewards: (B, C).
        values: (B, C), of the states before the tokens.
        bootstrap: (B,), 0 where the episode terminated, V(s_C) where it was cut.
        mask: (B, C), True on the tokens that count, which come first in each row.
        gamma: discount per token.
        lam: λ, from 0 (one step) to 1 (the whole return).

    Returns:
        advantages, returns: (B, C), zero where mask is False.
    """
    advantages = torch.zeros_like(rewards)
    following_value, following_advantage = bootstrap, torch.zeros_like(bootstrap)
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * following_value - values[:, t]
        advantage = delta + gamma * lam * following_advantage
        counts = mask[:, t]
        advantages[:, t] = torch.where(counts, advantage, 0.0)
        following_value = torch.where(counts, values[:, t], following_value)
        following_advantage = torch.where(counts, advantage, following_advantage)
    return advantages, torch.where(mask, advantages + values, 0.0)


def returns_to_go(rewards: Tensor, mask: Tensor, *, gamma: float) -> Tensor:
    """Sums the discounted rewards from each counted token on, 0 elsewhere: (B, C), (B, C) -> (B, C).

    G_t = r_t + gamma G_{t+1}; the first column is the return of the whole completion. Nothing stands for what would
    have followed a completion that was cut.
    """
    zeros = torch.zeros_like(rewards)
    return gae(rewards, zeros, zeros[:, 0], mask, gamma=gamma, lam=1.0)[1]


def others_mean(returns: Tensor) -> Tensor:
    """Computes the mean of the other entries of a row, (N, G) -> (N, G), G at least 2 (Kool et al. 2019).

    It does not depend on the entry it is subtracted from, so a policy gradient with it stays unbiased.
    """
    return (returns.sum(dim=1, keepdim=True) - returns) / (returns.shape[1] - 1)


def group_normalised(returns: Tensor, *, floor: float = 1e-4) -> Tensor:
    """Normalises a group: a row minus its mean, divided by its standard deviation + floor, (N, G) -> (N, G).

    G is at least 2. Shao et al. 2024, section 4.1.2. A row of equal returns gives zeros.
    """
    return (returns - returns.mean(dim=1, keepdim=True)) / (returns.std(dim=1, keepdim=True) + floor)


def to_tokens(advantages: Tensor, mask: Tensor) -> Tensor:
    """Gives every counted token its completion's advantage, the others 0: B of them in any shape, (B, C) -> (B, C)."""
    return torch.where(mask, advantages.reshape(-1, 1), 0.0)
