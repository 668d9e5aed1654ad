"""Prompts with given completions as token ids: padded side by side, and how likely a model finds them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from textrl_env.data.text import encode_completion, encode_prompt
from textrl_env.errors import InputError
from textrl_env.training import progress_bar


@dataclass(frozen=True)
class Example:
    """Token ids of a prompt, its completion and the end token, and how many of them are the prompt's."""

    ids: list[int]
    prompt_length: int


def encode_example(
    tokenizer: Any, row: Mapping[str, Any], *, index: int, column: str, kind: str, max_length: int,
    max_new_tokens: int | None = None,
) -> Example:  # fmt: skip
    """A row's `prompt` and the completion in `column`.

    Args:
        tokenizer: the model's.
        row: may have its place (`file:line`) under `where`; else `kind` and `index` name it in messages.
        index, kind: which row, and what the rows are.
        column: of the completion.
        max_length: the most tokens the model takes; InputError names a row with more.
        max_new_tokens: completions end here, then without the end token, as an environment's length limit ends them.
    """
    prompt = encode_prompt(tokenizer, row["prompt"])
    ids = prompt + encode_completion(tokenizer, row[column])[:max_new_tokens]
    if len(ids) > max_length:
        raise InputError(
            f"{row.get('where', f'{kind} {index}')}: {len(ids)} tokens, the model's context is "
            f"{max_length}; shorten or remove it: {row['prompt']!r:.60}"
        )
    return Example(ids, len(prompt))


def padded(examples: Sequence[Example], fill: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, attention mask and completion mask, (B, L) each, padded on the right."""
    width = max(len(example.ids) for example in examples)
    lengths = torch.tensor([len(example.ids) for example in examples])
    prompts = torch.tensor([example.prompt_length for example in examples])
    ids = torch.tensor([example.ids + [fill] * (width - len(example.ids)) for example in examples])
    at = torch.arange(width)
    attended = at < lengths[:, None]
    counted = attended & (at >= prompts[:, None])
    return ids.to(device), attended.to(device), counted.to(device)


def sequence_logprobs(model: Any, examples: Sequence[Example], *, fill: int, vocab_size: int) -> Tensor:
    """Log π(y|x) of each example, summed over the completion's tokens, in nats, with gradients: (B,).

    The first `vocab_size` logits count: a padded vocabulary's further entries have no probability.
    """
    ids, attended, counted = padded(examples, fill, next(model.parameters()).device)
    # Right-padded and causal: the padding is never attended to by a token that counts.
    logits = model(input_ids=ids, attention_mask=attended.long(), use_cache=False).logits
    # logits at position i predict token i + 1.
    nll = cross_entropy(logits[:, :-1, :vocab_size].transpose(1, 2).float(), ids[:, 1:], reduction="none")
    return -torch.where(counted[:, 1:], nll, 0.0).sum(dim=1)


@torch.no_grad()
def fixed_logprobs(model: Any, examples: Sequence[Example], *, fill: int, vocab_size: int, batch_size: int) -> Tensor:
    """The same without gradients, of a model that stays as it is: (M,).

    Completions that occur more than once, in the pairs of a ranking for instance, are scored once.
    """
    distinct = {(example.prompt_length, *example.ids): example for example in examples}
    order = sorted(distinct, key=len)
    totals: dict[tuple[int, ...], float] = {}
    with progress_bar("reference", len(order)) as advance:
        for start in range(0, len(order), batch_size):
            part = order[start : start + batch_size]
            logprobs = sequence_logprobs(model, [distinct[key] for key in part], fill=fill, vocab_size=vocab_size)
            totals |= zip(part, logprobs.tolist(), strict=True)
            advance(len(part))
    return torch.tensor([totals[(example.prompt_length, *example.ids)] for example in examples])
