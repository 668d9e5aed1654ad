"""Advantages of whole completions and the losses of policy-gradient training, as functions of tensors.

Masks: True = counts. `weights` (B, C) hold each token's share in the loss of the whole minibatch, 0 where it does not
count, so that a loss over a part of the minibatch is a part of the sum, and gradients of parts add up.
"""

import torch
from torch import Tensor

from textrl_env.mdp import Estimator


def drop_uncounted(x: Tensor, weights: Tensor) -> Tensor:
    """Returns x where the weight is not 0 (or the mask True), and 0 elsewhere; any shape.

    A loss takes its inputs through this, not only its result: what stands under a weight of 0 may be NaN or infinite,
    and the derivative of a square or an exponential there would be too, and 0 times it NaN.
    """
    return torch.where(weights != 0, x, 0.0)


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


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Averages x over the entries where mask is True; any shape, mask not all False."""
    return drop_uncounted(x, mask).sum() / mask.sum()


def whiten(x: Tensor, mask: Tensor, *, shift_mean: bool = True) -> Tensor:
    """Scales x to unit variance (and mean 0 if `shift_mean`) where mask is True, 0 elsewhere; (B, C) each."""
    x = drop_uncounted(x, mask)
    mean = masked_mean(x, mask)
    variance = masked_mean((x - mean) ** 2, mask)
    unit = (x - mean) * torch.rsqrt(variance + 1e-8)
    return torch.where(mask, unit if shift_mean else unit + mean, 0.0)


def weighted_sum(x: Tensor, weights: Tensor) -> Tensor:
    """Sums x times weights where the weight is not 0; any shape."""
    return (drop_uncounted(x, weights) * weights).sum()


def policy_gradient_loss(logprobs: Tensor, advantages: Tensor, weights: Tensor) -> Tensor:
    """Computes -log π(a) · A, summed with weights, negated to be minimised (Williams 1992); (B, C) each."""
    return -weighted_sum(drop_uncounted(logprobs, weights) * drop_uncounted(advantages, weights), weights)


def ppo_policy_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, weights: Tensor, *, clip_range: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Computes the clipped surrogate (Schulman et al. 2017, eq. 7), summed with weights, negated to be minimised.

    ratio = exp(logprob - old_logprob);   loss = -min(ratio · A, clip(ratio, 1 ± clip_range) · A)

    Args:
        logprobs: (B, C), of the tokens under the present parameters.
        old_logprobs: (B, C), when they were sampled.
        advantages: (B, C).
        weights: (B, C).
        clip_range: how far the ratio may leave 1.

    Returns:
        the loss, and `approx_kl` (the k3 estimate of KL(old ‖ new)), `clip_fraction` and `ratio`, summed with weights.
    """
    log_ratio = drop_uncounted(logprobs, weights) - drop_uncounted(old_logprobs, weights)
    ratio = log_ratio.exp()
    bounded_ratio = ratio.clamp(1 - clip_range, 1 + clip_range)
    advantages = drop_uncounted(advantages, weights)
    loss = -weighted_sum(torch.minimum(ratio * advantages, bounded_ratio * advantages), weights)
    with torch.no_grad():
        statistics = {
            "approx_kl": weighted_sum(ratio - 1 - log_ratio, weights),
            "clip_fraction": weighted_sum(((ratio - 1).abs() > clip_range).float(), weights),
            "ratio": weighted_sum(ratio, weights),
        }
    return loss, statistics


def value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, weights: Tensor, *, clip_range: float | None = None
) -> Tensor:
    """Computes half the squared error of the critic, summed with weights; (B, C) each.

    With `clip_range` the larger of the plain error and that of the value clipped to `old_values` ± `clip_range`
    (as in the PPO of Stiennon et al. 2020 and SB3's `clip_range_vf`).
    """
    values, old_values, returns = (drop_uncounted(part, weights) for part in (values, old_values, returns))
    error = (values - returns) ** 2
    if clip_range is not None:
        bounded_values = old_values + (values - old_values).clamp(-clip_range, clip_range)
        error = torch.maximum(error, (bounded_values - returns) ** 2)
    return 0.5 * weighted_sum(error, weights)


def kl_loss(log_ratio: Tensor, weights: Tensor, *, estimator: Estimator) -> Tensor:
    """Computes a KL term with a gradient, summed with weights; (B, C) each.

    x² / 2 (k2) or e^-x - 1 + x (k3) of x = log π - log π_ref. Schulman, "Approximating KL divergence" (2020).
    """
    log_ratio = drop_uncounted(log_ratio, weights)
    return weighted_sum(0.5 * log_ratio**2 if estimator == "k2" else (-log_ratio).exp() - 1 + log_ratio, weights)
