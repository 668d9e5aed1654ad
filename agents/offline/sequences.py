"""Prompts with completions as token ids: padded side by side, and how likely a model finds them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from textrl_env.data.text import Prompt, encode_pair
from textrl_env.errors import InputError
from textrl_env.training import progress_bar


@dataclass(frozen=True)
class TokenizedRow:
    """Token ids of a prompt, its completion and the end token, and how many of them are the prompt's."""

    ids: list[int]
    prompt_length: int


def tokenize_completion(
    tokenizer: Any, prompt: Prompt, completion: str, *, max_length: int | None, max_new_tokens: int | None = None
) -> TokenizedRow:
    """Encodes a prompt, its completion and the end token.

    Args:
        tokenizer: the model's.
        prompt: a text or a conversation.
        completion: its text.
        max_length: the most tokens the model takes; None where it has no limit.
        max_new_tokens: completions end here, then without the end token, as an environment's length limit ends them.

    Raises:
        InputError: more than `max_length` tokens, or a conversation that the tokenizer has no template for.
    """
    prompt_ids, completion_ids = encode_pair(tokenizer, prompt, completion)
    ids = prompt_ids + completion_ids[:max_new_tokens]
    if max_length is not None and len(ids) > max_length:
        raise InputError(
            f"{len(ids)} tokens, the model's context is {max_length}; shorten or remove it: {str(prompt)!r:.60}"
        )
    return TokenizedRow(ids, len(prompt_ids))


def pad_rows(rows: Sequence[TokenizedRow], fill: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Pads on the right with `fill`; returns ids, attention mask and completion mask, (B, L) each."""
    width = max(len(row.ids) for row in rows)
    lengths = torch.tensor([len(row.ids) for row in rows])
    prompts = torch.tensor([row.prompt_length for row in rows])
    ids = torch.tensor([row.ids + [fill] * (width - len(row.ids)) for row in rows])
    position = torch.arange(width)
    attention_mask = position < lengths[:, None]
    completion_mask = attention_mask & (position >= prompts[:, None])
    return ids.to(device), attention_mask.to(device), completion_mask.to(device)


def sequence_logprobs(model: Any, rows: Sequence[TokenizedRow], *, fill: int, vocab_size: int) -> Tensor:
    """Computes log π(y|x) of each row, summed over the completion's tokens, in nats, with gradients: (B,).

    The first `vocab_size` logits count: a padded vocabulary's further entries have no probability.
    """
    ids, attention_mask, completion_mask = pad_rows(rows, fill, next(model.parameters()).device)
    # Right-padded and causal: the padding is never attended to by a token that counts.
    logits = model(input_ids=ids, attention_mask=attention_mask.long(), use_cache=False).logits
    # logits at position i predict token i + 1.
    nll = cross_entropy(logits[:, :-1, :vocab_size].transpose(1, 2).float(), ids[:, 1:], reduction="none")
    return -torch.where(completion_mask[:, 1:], nll, 0.0).sum(dim=1)


@torch.no_grad()
def reference_logprobs(
    model: Any, rows: Sequence[TokenizedRow], *, fill: int, vocab_size: int, batch_size: int
) -> Tensor:
    """Computes `sequence_logprobs` without gradients, of a model that stays as it is: (M,).

    Completions that occur more than once, in the pairs of a ranking for instance, are scored once.
    """
    distinct = {(row.prompt_length, *row.ids): row for row in rows}
    order = sorted(distinct, key=len)
    totals: dict[tuple[int, ...], float] = {}
    with progress_bar("reference", len(order)) as advance:
        for start in range(0, len(order), batch_size):
            part = order[start : start + batch_size]
            logprobs = sequence_logprobs(model, [distinct[key] for key in part], fill=fill, vocab_size=vocab_size)
            totals |= zip(part, logprobs.tolist(), strict=True)
            advance(len(part))
    return torch.tensor([totals[(row.prompt_length, *row.ids)] for row in rows])
