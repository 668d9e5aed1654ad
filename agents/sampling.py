"""Completions of given prompts, sampled in batches from a key-value cache."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from textrl_env import InputError
from textrl_env.decoding import CachedDecoder
from textrl_env.progress import progress_bar
from textrl_env.tokenization import encode_prompt, pad_id


@torch.inference_mode()
def sample_completions(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    n: int = 1,
    temperature: float = 1.0,
    seed: int = 0,
    batch_size: int = 256,
    description: str = "sampling",
) -> list[list[str]]:
    """`n` sampled completions per prompt, as texts without the end token.

    Args:
        model: a causal LM of transformers.
        tokenizer: its tokenizer; V = `len(tokenizer)` tokens are sampled from.
        prompts: B texts.
        max_new_tokens: the most tokens of a completion.
        n: completions per prompt.
        temperature: of sampling; 0 takes the likeliest token.
        seed: of sampling; equal seeds and batch sizes give equal texts.
        batch_size: completions that are sampled side by side.
        description: of the progress bar.
    Returns:
        B lists of n texts.
    """
    if temperature < 0:
        raise InputError(f"temperature must be 0 or more, got {temperature}")
    jobs = [encode_prompt(tokenizer, prompt) for prompt in prompts for _ in range(n)]
    # Neighbours of similar length waste little padding; the order is undone at the end.
    order = sorted(range(len(jobs)), key=lambda job: len(jobs[job]))
    generator = torch.Generator(device=next(model.parameters()).device).manual_seed(seed)
    texts = [""] * len(jobs)
    model.eval()
    with progress_bar(description, len(jobs)) as advance:
        for start in range(0, len(jobs), batch_size):
            batch = order[start : start + batch_size]
            completions = _sample(model, tokenizer, [jobs[job] for job in batch], max_new_tokens, temperature, generator)
            for job, ids in zip(batch, completions, strict=True):
                texts[job] = tokenizer.decode(ids, skip_special_tokens=True)
            advance(len(batch))
    return [texts[start : start + n] for start in range(0, len(texts), n)]


def _sample(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    temperature: float,
    generator: torch.Generator,
) -> list[list[int]]:
    """Completion ids, without the end token, of one batch of prompts."""
    longest = max(map(len, prompts))
    ids = np.full((len(prompts), longest + max_new_tokens), pad_id(tokenizer), dtype=np.int64)
    mask = np.zeros(ids.shape, dtype=np.int8)
    for row, prompt in enumerate(prompts):
        ids[row, -len(prompt) :], mask[row, -len(prompt) :] = prompt, 1
    decoder, vocab_size = CachedDecoder(model), len(tokenizer)
    live = np.ones(len(prompts), dtype=np.bool_)
    completions: list[list[int]] = [[] for _ in prompts]
    for _ in range(max_new_tokens):
        logits = decoder.next_logits(ids, mask, live)[:, :vocab_size].float()
        if temperature == 0:
            tokens = logits.argmax(dim=-1).cpu().numpy()
        else:
            weights = torch.softmax(logits / temperature, dim=-1)
            tokens = torch.multinomial(weights, 1, generator=generator).squeeze(-1).cpu().numpy()
        live = live & (tokens != tokenizer.eos_token_id)
        for row in np.flatnonzero(live):
            completions[row].append(int(tokens[row]))
        if not live.any():
            break
        ids = np.concatenate([ids[:, 1:], tokens[:, None]], axis=1)
        mask = np.concatenate([mask[:, 1:], np.ones_like(mask[:, :1])], axis=1)
    return completions
