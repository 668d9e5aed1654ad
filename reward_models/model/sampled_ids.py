"""Completions as the token ids that a policy sampled: when a reward model reads them, and how they are cut to fit."""

import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from textrl_env.data import find_prompt_fault, find_text_fault
from textrl_env.data.text import Prompt, encode_pair
from textrl_env.errors import InputError


@dataclass(frozen=True)
class SampledIds:
    """Prompts and completions as token ids, with the tokenizer that they belong to.

    Attributes:
        tokenizer: the policy's.
        prompt_ids: of B prompts, as the policy saw them.
        completion_ids: of B completions, without an end token; None where the completion is less than its tokens say,
            as one that ends before a stop string.
    """

    tokenizer: Any
    prompt_ids: Sequence[Sequence[int]]
    completion_ids: Sequence[Sequence[int] | None]

    @classmethod
    def of_completions(
        cls,
        tokenizer: Any,
        prompt_ids: Sequence[Sequence[int]],
        completion_ids: Sequence[Sequence[int]],
        finish_reasons: Sequence[str] | None = None,
    ) -> "SampledIds":
        """Makes them of what an environment hands to reward functions.

        Args:
            tokenizer: the environment's.
            prompt_ids: of B prompts.
            completion_ids: of B completions, with the end token where one was chosen.
            finish_reasons: why they ended; by default their last token says so.
        """
        end = [tokenizer.eos_token_id]
        reasons = finish_reasons or ["eos" if list(ids[-1:]) == end else "length" for ids in completion_ids]
        bodies = [
            None if reason == "stop" else ids[:-1] if reason == "eos" else ids
            for ids, reason in zip(completion_ids, reasons, strict=True)
        ]
        return cls(tokenizer, prompt_ids, bodies)


def pair_texts(prompts: Iterable[Prompt], completions: Iterable[str]) -> list[tuple[Prompt, str]]:
    """Returns B prompts, each with its completion.

    Raises:
        InputError: a single text instead of lists, not as many of the one as of the other, or what is no prompt or no
            completion, named by its number.
    """
    if isinstance(prompts, str) or isinstance(completions, str):
        raise InputError("prompts and completions must be lists with an entry a text, got one text; put it in a list")
    prompts, completions = list(prompts), list(completions)
    if len(prompts) != len(completions):
        raise InputError(
            f"expected a completion a prompt, got {len(prompts)} prompts and {len(completions)} completions"
        )
    for index, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        if not isinstance(prompt, str) and (fault := find_prompt_fault(prompt)):
            raise InputError(f"prompt {index} {fault}")
        if fault := find_text_fault(completion):
            raise InputError(f"completion {index} {fault}")
    return list(zip(prompts, completions, strict=True))


class TokenizerComparison:
    """A tokenizer beside others, which may make the same ids of every text.

    Args:
        tokenizer: a tokenizer of transformers, or another, which is like no other object.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._last: tuple[Any, bool] = (tokenizer, True)

    @cached_property
    def behaviour(self) -> Any:
        """All that decides how a text is encoded; None where it cannot be seen."""
        return _behaviour(self.tokenizer)

    def encodes_as(self, tokenizer: Any) -> bool:
        """Says whether both make the same ids of every text, and mean the same by their special tokens."""
        if tokenizer is not self._last[0]:
            self._last = (tokenizer, self.behaviour is not None and self.behaviour == _behaviour(tokenizer))
        return self._last[1]

    def renders_as(self, tokenizer: Any, prompt: Prompt) -> bool:
        """Says whether both make the same text of a prompt: they do of a text, and of messages with one template."""
        template = getattr(self.tokenizer, "chat_template", None)
        return isinstance(prompt, str) or template == getattr(tokenizer, "chat_template", None)


class SampledReader:
    """Encodes completions of a policy for a reward model; none is an error.

    Where the policy's tokenizer does what the model's does, its ids are those that the policy saw and sampled, with the
    end token; else the texts are encoded. What is beyond the context is cut and counted: a prompt loses its beginning,
    all but its BOS, and then the completion its end, all but the end token.

    Args:
        tokenizer: the reward model's.
        context: the most tokens that it reads, or None.

    Attributes:
        n_truncated: completions that were cut.
    """

    def __init__(self, tokenizer: Any, context: int | None) -> None:
        self.tokenizer, self.context, self.n_truncated = tokenizer, context, 0
        self._comparison = TokenizerComparison(tokenizer)

    def encode(
        self, prompts: Sequence[Prompt], completions: Sequence[str], sample: SampledIds | None = None
    ) -> list[list[int]]:
        """Returns B lists of token ids.

        Args:
            prompts: B texts or conversations.
            completions: B texts.
            sample: the policy's tokenizer and ids.
        """
        n_truncated, sequences = self.n_truncated, []
        for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            parts = self._sampled_pair(prompt, sample, row) or encode_pair(self.tokenizer, prompt, completion)
            sequences.append(self._fit(*parts))
        if self.n_truncated and not n_truncated:
            warnings.warn(
                f"the reward model reads at most {self.context} tokens: a prompt with its completion has more and is "
                "cut, and so will be others (n_truncated counts them); lower max_new_tokens or shorten the prompts",
                stacklevel=2,
            )
        return sequences

    def check_lengths(self, tokenizer: Any, max_tokens: int) -> None:
        """Raises InputError where ids of a policy's tokenizer cannot be scored as they are.

        Args:
            tokenizer: the policy's; where it is another than the model's, nothing is known yet.
            max_tokens: of a prompt and its completion; the end token is added to one without.
        """
        n_tokens = max_tokens + (self.tokenizer.eos_token_id is not None)
        if self.context is not None and n_tokens > self.context and self._comparison.encodes_as(tokenizer):
            raise InputError(
                f"prompts and completions of up to {max_tokens} tokens and the end token do not fit the reward "
                f"model's context of {self.context}; lower max_new_tokens or shorten the prompts"
            )

    def _sampled_pair(self, prompt: Prompt, sample: SampledIds | None, row: int) -> tuple[list[int], list[int]] | None:
        """Returns a row's ids as they were sampled; None where its text must be encoded."""
        if sample is None or not prompt or (ids := sample.completion_ids[row]) is None:
            return None
        like, tokenizer = self._comparison, sample.tokenizer
        if not (like.encodes_as(tokenizer) and like.renders_as(tokenizer, prompt)):
            return None
        end = self.tokenizer.eos_token_id
        return list(sample.prompt_ids[row]), [*ids, *([] if end is None else [end])]

    def _fit(self, prompt_ids: list[int], completion_ids: list[int]) -> list[int]:
        if self.context is None or len(prompt_ids) + len(completion_ids) <= self.context:
            return prompt_ids + completion_ids
        self.n_truncated += 1
        begins = prompt_ids[:1] == [getattr(self.tokenizer, "bos_token_id", None)]
        keep = int(begins), int(self.tokenizer.eos_token_id is not None)
        return truncate(prompt_ids, completion_ids, self.context, keep=keep)


def _behaviour(tokenizer: Any) -> Any:
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if not hasattr(backend, "to_str"):
        return None
    content = json.loads(backend.to_str())
    for state in ("truncation", "padding"):  # Of the last call, not of the tokenizer.
        content.pop(state, None)
    names = ("eos_token_id", "bos_token_id", "split_special_tokens", "add_bos_token", "add_eos_token")
    return len(tokenizer), content, [getattr(tokenizer, name, None) for name in names]


def truncate(prompt: Sequence[int], completion: Sequence[int], limit: int, *, keep: tuple[int, int]) -> list[int]:
    """Joins a prompt's ids with a completion's, at most `limit` of them.

    The prompt loses its beginning first, then the completion its end.

    Args:
        prompt: its ids.
        completion: its ids.
        limit: at least 1.
        keep: how many ids stay whatever is cut: at the prompt's beginning (a BOS), at the completion's end (the end
            token).
    """
    excess = len(prompt) + len(completion) - limit
    if excess <= 0:
        return [*prompt, *completion]
    first, last = keep
    prompt = [*prompt[:first], *prompt[first + excess :]]
    excess = len(prompt) + len(completion) - limit
    body, end = completion[: len(completion) - last], completion[len(completion) - last :]
    return [*prompt, *body[: len(body) - excess], *end][-limit:]
