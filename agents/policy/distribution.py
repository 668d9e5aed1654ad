"""The distribution of the next token: its log-probabilities, draws from it, its entropy."""

from typing import NamedTuple

import torch
from torch import Tensor


class TokenEvaluation(NamedTuple):
    """A rollout's tokens under the present parameters: (B, C) each with gradients, junk where the mask is False.

    Attributes:
        logprobs: of the tokens.
        entropies: of the distributions they were drawn from, in nats, or None where not asked for.
        values: of the states before them, or None without a critic.
    """

    logprobs: Tensor
    entropies: Tensor | None
    values: Tensor | None


def next_token_logprobs(logits: Tensor, mask: Tensor | None, *, vocab_size: int, temperature: float) -> Tensor:
    """Computes the log-probabilities that tokens are sampled and scored with.

    Args:
        logits: (..., V_model), of which the first `vocab_size` count.
        mask: (..., V), True where a token may be chosen, or None where all may.
        vocab_size: V.
        temperature: divides the logits.

    Returns:
        (..., V), float32.
    """
    logits = logits[..., :vocab_size].float() / temperature
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    return torch.log_softmax(logits, dim=-1)


def draw(probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """Draws one index from each row of probabilities, (N, V) -> (N,), by inverse transform sampling.

    `torch.multinomial` draws V random numbers a row where one will do, and took 14 to 27 times as long for 64 rows of
    256 to 2048 tokens on a CPU. The sums are float64, so that 50,000 tokens leave no rounding to the last ones; an
    index of probability 0 is never drawn.
    """
    sums = probabilities.cumsum(dim=-1, dtype=torch.float64)
    uniform = torch.rand(len(sums), 1, generator=generator, dtype=torch.float64, device=sums.device)
    # In (0, 1] of the whole: the first sum that reaches it belongs to an index whose probability made it grow.
    return torch.searchsorted(sums, (1 - uniform) * sums[:, -1:]).squeeze(-1)


def compute_entropies(logprobs: Tensor) -> Tensor:
    """Computes the entropies of distributions in nats: (..., V) -> (...)."""
    # 0 · -inf of a forbidden token is NaN; its share of the entropy is 0.
    return -(logprobs.exp() * logprobs.clamp_min(torch.finfo(logprobs.dtype).min)).sum(dim=-1)
