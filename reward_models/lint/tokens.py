"""Texts in tokens, as a reward model reads them, and how many of these fit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textrl_env.data.text import Message, encode_rendered, encode_texts, render
from textrl_env.reward_models.lint.words import Ragged

_BATCH = 1000
Encode = Callable[[Any, Sequence[str]], list[list[int]]]


@dataclass(frozen=True)
class Limit:
    """Most tokens of prompt, completion and end token together, by a tokenizer."""

    tokenizer: Any
    max_tokens: int


@dataclass(frozen=True)
class Tokens:
    """Token ids by text number, as of `RewardModel.encode`; a text has none as what it does not occur as."""

    prompts: Ragged
    completions: Ragged
    """Without the end token."""


def tokens_of(
    tokenizer: Any,
    texts: Sequence[str],
    prompts: set[int],
    completions: set[int],
    conversations: Mapping[int, Sequence[Message]],
) -> Tokens:
    """Encodes texts where they occur; conversations go through the chat template, an empty prompt has no token."""
    rendered = {number: render(tokenizer, messages) for number, messages in conversations.items()}
    plain = {number: texts[number] for number in prompts if texts[number] and number not in conversations}
    asked = _encoded(tokenizer, plain, encode_texts) | _encoded(tokenizer, rendered, encode_rendered)
    # Completions are encoded as what a template rendered: without the tokens that a tokenizer puts around a text.
    answered = _encoded(tokenizer, {number: texts[number] for number in completions}, encode_rendered)
    return Tokens(*(Ragged.of(found.get(i, ()) for i in range(len(texts))) for found in (asked, answered)))


def _encoded(tokenizer: Any, texts: Mapping[int, str], encode: Encode) -> dict[int, Any]:
    found: dict[int, Any] = {}
    numbers = list(texts)
    for start in range(0, len(numbers), _BATCH):
        batch = numbers[start : start + _BATCH]
        # Arrays: a list of a hundred thousand texts' ids would take gigabytes.
        ids = Ragged.of(encode(tokenizer, [texts[number] for number in batch]))
        found |= {number: ids[i] for i, number in enumerate(batch)}
    return found
