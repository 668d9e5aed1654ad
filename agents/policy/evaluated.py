"""What a policy says of a rollout's tokens under its present parameters."""

from typing import NamedTuple

import torch
from torch import Tensor


class Evaluated(NamedTuple):
    """A rollout's tokens under the present parameters: (B, C) each with gradients, junk where the mask is False.

    Attributes:
        logprobs: of the tokens.
        entropies: of the distributions they were drawn from, in nats, or None where not asked for.
        values: of the states before them, or None without a critic.
    """

    logprobs: Tensor
    entropies: Tensor | None
    values: Tensor | None


def entropies_of(logprobs: Tensor) -> Tensor:
    """Entropies of distributions: (..., V) -> (...)."""
    # 0 · -inf of a forbidden token is NaN; its share of the entropy is 0.
    return -(logprobs.exp() * logprobs.clamp_min(torch.finfo(logprobs.dtype).min)).sum(dim=-1)
