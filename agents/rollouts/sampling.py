"""Sampling completions of prompts in batches from a key-value cache, and the best of n of them. No training."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from textrl_env.agents.policy import check_logits, draw
from textrl_env.data import find_prompt_fault, iterate_rows
from textrl_env.data.text import (
    Prompt,
    as_completion,
    decode_completion,
    encode_prompts,
    end_token_ids,
    pad_id,
    render,
)
from textrl_env.errors import InputError, require_at_least, require_count, require_seed, require_token_ids
from textrl_env.lm import check_fits, context_length
from textrl_env.lm.forward import CachedDecoder, require_causal
from textrl_env.mdp import RewardSource, RewardSum
from textrl_env.reference import FrozenReference
from textrl_env.training import progress_bar


@dataclass(frozen=True)
class Completion:
    """A sampled completion.

    Attributes:
        text: without the end token.
        prompt_ids, ids: of the prompt and the completion, with the end token where one was sampled.
        finish_reason: "eos", or "length" where it ran into the limit.
    """

    text: str
    prompt_ids: list[int]
    ids: list[int]
    finish_reason: Literal["eos", "length"] = "eos"


@torch.inference_mode()
def sample_completions(
    model: Any,
    tokenizer: Any,
    prompts: Iterable[Prompt],
    *,
    max_new_tokens: int,
    n: int = 1,
    temperature: float = 1.0,
    eos_token_ids: Sequence[int] | None = None,
    seed: int = 0,
    batch_size: int = 256,
    description: str | None = "sampling",
) -> list[list[Completion]]:
    """Samples `n` completions per prompt.

    Args:
        model: a causal LM of transformers.
        tokenizer: its tokenizer; V = `len(tokenizer)` tokens are sampled from.
        prompts: B texts or conversations, in any container that `textrl_env.data.iterate_rows` reads.
        max_new_tokens: the most tokens of a completion.
        n: completions per prompt.
        temperature: of sampling; 0 takes the likeliest token.
        eos_token_ids: the tokens that end a completion; None takes the tokenizer's end token and those of the model's
            generation settings, see `textrl_env.data.text.end_token_ids`.
        seed: of sampling; equal seeds and batch sizes give equal texts.
        batch_size: completions that are sampled side by side.
        description: of the progress bar; None for none.

    Returns:
        B lists of n completions.

    Raises:
        InputError: not a causal language model, one without an embedding for a token or whose weights give NaN, an
            impossible option, or what is no prompt, or one without tokens or without room for a completion in the
            model's context, named by its number.
    """
    require_causal(model, role="the model")
    require_at_least(0, temperature=temperature)
    require_count(1, n=n, max_new_tokens=max_new_tokens, batch_size=batch_size)
    check_fits(model, tokenizer)
    ends = end_token_ids(tokenizer, model) if eos_token_ids is None else eos_token_ids
    end_ids = require_token_ids(len(tokenizer), eos_token_ids=ends)
    prompt_ids = encode_prompts(tokenizer, _list_prompts(prompts))
    if empty := [index for index, ids in enumerate(prompt_ids) if not ids]:
        raise InputError(f"prompt {empty[0]} has no tokens; a completion needs one at least to start from")
    _check_context(model, prompt_ids, max_new_tokens)
    jobs = [ids for ids in prompt_ids for _ in range(n)]
    # Neighbours of similar length waste little padding; the order is undone at the end.
    order = sorted(range(len(jobs)), key=lambda job: len(jobs[job]))
    generator = torch.Generator(device=next(model.parameters()).device).manual_seed(require_seed(seed))
    completions: dict[int, Completion] = {}
    model.eval()
    with progress_bar(description, len(jobs)) if description else _no_bar() as advance:
        for start in range(0, len(jobs), batch_size):
            batch = order[start : start + batch_size]
            id_lists = _sample_ids(
                model,
                tokenizer,
                [jobs[job] for job in batch],
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                end_ids=end_ids,
                generator=generator,
            )
            for job, ids in zip(batch, id_lists, strict=True):
                text = decode_completion(tokenizer, ids, end_ids=end_ids)
                completions[job] = Completion(text, jobs[job], ids, "eos" if ids[-1] in end_ids else "length")
            advance(len(batch))
    return [[completions[job] for job in range(start, start + n)] for start in range(0, len(jobs), n)]


def _list_prompts(prompts: Iterable[Prompt]) -> list[Prompt]:
    """The prompts of a container; InputError where it is none or holds something else."""
    entries = list(iterate_rows(prompts, name="prompts"))
    for index, entry in enumerate(entries):
        if not isinstance(entry, str) and (fault := find_prompt_fault(entry)):
            raise InputError(f"prompt {index} {fault}")
    return entries


def _check_context(model: Any, prompt_ids: Sequence[Sequence[int]], max_new_tokens: int) -> None:
    """Raises InputError where the longest prompt leaves no room for a completion in the model's context."""
    context, lengths = context_length(model), [len(ids) for ids in prompt_ids]
    if context is not None and lengths and (longest := max(lengths)) + max_new_tokens > context:
        raise InputError(
            f"prompt {lengths.index(longest)} has {longest} tokens, which with max_new_tokens {max_new_tokens} do not "
            f"fit the model's context of {context}; shorten it, or lower max_new_tokens"
        )


@contextmanager
def _no_bar() -> Iterator[Callable[..., None]]:
    yield lambda steps: None


def _sample_ids(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float,
    end_ids: Sequence[int],
    generator: torch.Generator,
) -> list[list[int]]:
    """Samples the ids of one completion for each of a batch of prompts."""
    longest = max(map(len, prompts))
    ids = np.full((len(prompts), longest + max_new_tokens), pad_id(tokenizer), dtype=np.int64)
    mask = np.zeros(ids.shape, dtype=np.int8)
    for row, prompt in enumerate(prompts):
        ids[row, -len(prompt) :], mask[row, -len(prompt) :] = prompt, 1
    decoder, vocab_size = CachedDecoder(model), len(tokenizer)
    live: npt.NDArray[np.bool_] = np.ones(len(prompts), dtype=np.bool_)
    completions: list[list[int]] = [[] for _ in prompts]
    for _ in range(max_new_tokens):
        logits = decoder.next_logits(ids, mask, live)[:, :vocab_size].float()
        check_logits(logits, live, role="the model")
        if temperature == 0:
            tokens = logits.argmax(dim=-1).cpu().numpy()
        else:
            weights = torch.softmax(logits / temperature, dim=-1)
            tokens = draw(weights, generator).cpu().numpy()
        for row in np.flatnonzero(live).tolist():
            completions[row].append(int(tokens[row]))
        live = live & ~np.isin(tokens, end_ids)
        if not live.any():
            break
        ids = np.concatenate([ids[:, 1:], tokens[:, None]], axis=1)
        mask = np.concatenate([mask[:, 1:], np.ones_like(mask[:, :1])], axis=1)
    return completions


def completion_logprobs(
    model: Any, completions: Sequence[Completion], *, vocab_size: int, batch_size: int = 64
) -> list[float]:
    """Computes log π(y|x) of each completion under a causal LM, summed over its tokens, in nats."""
    scorer = FrozenReference(model, vocab_size=vocab_size)
    totals: list[float] = []
    for start in range(0, len(completions), batch_size):
        part = completions[start : start + batch_size]
        rows = [[*completion.prompt_ids, *completion.ids] for completion in part]
        width, longest = max(map(len, rows)), max(len(completion.ids) for completion in part)
        ids = np.array([[0] * (width - len(row)) + row for row in rows])
        mask = np.arange(width)[None] >= np.array([width - len(row) for row in rows])[:, None]
        logprobs = scorer.completion_logprobs(ids, mask.astype(np.int8), longest)
        totals += [float(logprobs[row, longest - len(c.ids) :].sum()) for row, c in enumerate(part)]
    return totals


@dataclass(frozen=True)
class BestCompletion:
    """The best of n completions of a prompt, its score, and the scores of all n in the order of sampling."""

    completion: Completion
    score: float
    scores: tuple[float, ...]


def best_of_n(
    model: Any,
    tokenizer: Any,
    prompts: Iterable[Prompt],
    reward: RewardSource,
    *,
    n: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    eos_token_ids: Sequence[int] | None = None,
    seed: int = 0,
    batch_size: int = 256,
) -> list[BestCompletion]:
    """Samples n completions per prompt and keeps the one with the highest score (the first of equals).

    The arguments are those of `sample_completions`, and `reward`, as the environment takes it (see `textrl_env.mdp`);
    it is called once with all completions, and there are no columns.

    Returns:
        the best of each prompt's completions, in the order of the prompts.
    """
    rewards = RewardSum(reward)
    prompts = _list_prompts(prompts)
    groups = sample_completions(
        model,
        tokenizer,
        prompts,
        max_new_tokens=max_new_tokens,
        n=n,
        temperature=temperature,
        eos_token_ids=eos_token_ids,
        seed=seed,
        batch_size=batch_size,
        description=f"best of {n}",
    )
    prompt_indices = [index for index, group in enumerate(groups) for _ in group]
    completions = [completion for group in groups for completion in group]
    arguments = {
        "prompts": [prompts[index] for index in prompt_indices],
        "completions": [
            as_completion(prompts[index], c.text) for index, c in zip(prompt_indices, completions, strict=True)
        ],
        "prompt_ids": [completion.prompt_ids for completion in completions],
        "completion_ids": [completion.ids for completion in completions],
        "finish_reason": [completion.finish_reason for completion in completions],
        "tokenizer": tokenizer,
        "raw_completions": [decode_completion(tokenizer, c.ids, with_end=True) for c in completions],
    }
    if "rendered_prompts" in rewards.argument_names:
        texts = [prompt if isinstance(prompt, str) else render(tokenizer, prompt) for prompt in prompts]
        arguments["rendered_prompts"] = [texts[index] for index in prompt_indices]
    terms = rewards(arguments, prompt_indices=prompt_indices)
    scores = np.sum(list(terms.values()), axis=0).reshape(-1, n)
    return [
        BestCompletion(group[best], float(row[best]), tuple(row.tolist()))
        for group, row, best in zip(groups, scores, scores.argmax(axis=1), strict=True)
    ]
