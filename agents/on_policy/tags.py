"""What is logged of an update, by tag: Stable-Baselines3's names, and TRL's for the parts of the objective."""

import torch
from torch import Tensor

from textrl_env.agents.maths import explained_variance, masked_mean
from textrl_env.agents.rollout import Rollout


def rollout_tags(rollout: Rollout, *, kl_coef: float) -> dict[str, float]:
    """Of a rollout, and of the KL coefficient it was paid with."""
    lengths = rollout.completion_mask.sum(dim=1).float()
    returns = torch.where(rollout.completion_mask, rollout.rewards, 0.0).sum(dim=1)
    return {
        "rollout/ep_rew_mean": float(returns.mean()),
        "rollout/ep_len_mean": float(lengths.mean()),
        "objective/scores": float(rollout.scores.mean()),
        "objective/rlhf_reward": float(returns.mean()),
        "objective/non_score_reward": float((returns - rollout.scores).mean()),
        "objective/kl": float(rollout.kl.mean()),
        "objective/kl_coef": kl_coef,
        # Minus the log-probability of what was sampled: an unbiased estimate of the entropy per token.
        "objective/entropy": float(masked_mean(-rollout.logprobs, rollout.completion_mask)),
    }


def critic_tags(values: Tensor | None, returns: Tensor | None, mask: Tensor) -> dict[str, float]:
    """Of what a critic said and should have said, (B, C) each; nothing without a critic."""
    if values is None or returns is None:
        return {}
    tags = {"train/value_mean": float(masked_mean(values, mask))}
    if (explained := explained_variance(values, returns, mask)) is not None:
        tags["train/explained_variance"] = explained
    return tags
