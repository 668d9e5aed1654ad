"""The same episodes with no padding, and with more."""

from dataclasses import replace

import torch
from torch.nn.functional import pad

from textrl_env.agents import Rollout


def alone(rollout: Rollout, row: int) -> Rollout:
    """One episode without its padding."""
    one = rollout[torch.tensor([row])]
    prompt, n = one.prompt_mask[0], int(one.completion_mask.sum())
    shorter = {name: getattr(one, name)[:, :n] for name in ("completion_ids", "completion_mask", "logprobs", "rewards")}
    return replace(one, prompt_ids=one.prompt_ids[:, prompt], prompt_mask=one.prompt_mask[:, prompt], **shorter)


def padded(rollout: Rollout, fill: int, *, left: int = 5, right: int = 3) -> Rollout:
    """More padding in front of the prompts and behind the completions, so that no row is without any."""
    longer = {name: pad(getattr(rollout, name), (0, right)) for name in ("completion_mask", "logprobs", "rewards")}
    return replace(
        rollout,
        prompt_ids=pad(rollout.prompt_ids, (left, 0), value=fill),
        prompt_mask=pad(rollout.prompt_mask, (left, 0)),
        completion_ids=pad(rollout.completion_ids, (0, right), value=fill),
        **longer,
    )
