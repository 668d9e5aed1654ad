"""Prompts and completions, as texts or as messages, and their token ids: chat templates, encoding, safe printing."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from textrl_env.errors import InputError

Message = Mapping[str, Any]
Prompt = str | Sequence[Message]


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that the environment uses; anything with these members will do.

    A tokenizer that can be called is called with lists of texts, as those of transformers, which is many times faster
    than one text after another; it returns `{"input_ids": [ids, …]}`. Prompts that are conversations need
    `chat_template` and `apply_chat_template`.
    """

    pad_token_id: int | None
    eos_token_id: int | None

    def __len__(self) -> int: ...

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Returns the token ids of a text, by default with the special tokens that stand around it."""
        ...

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Returns the text of token ids."""
        ...


def pad_id(tokenizer: Tokenizer) -> int:
    """Returns the id that fills unused places: the pad id, else the end of sequence; masks come from lengths, not ids.

    Raises:
        InputError: the tokenizer has neither.
    """
    for token_id in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token_id is not None:
            return token_id
    raise InputError("the tokenizer has neither a pad nor an eos token; set tokenizer.pad_token = '…'")


def encode_prompt(tokenizer: Tokenizer, prompt: Prompt) -> list[int]:
    """Returns prompt ids: of a text by `encode_texts`, of a conversation by its chat template and `encode_rendered`."""
    if isinstance(prompt, str):
        return encode_texts(tokenizer, [prompt])[0]
    return encode_rendered(tokenizer, [render(tokenizer, prompt)])[0]


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Returns ids of each text with the special tokens that the tokenizer puts in front (say, a BOS), no final EOS."""
    end = tokenizer.eos_token_id
    rows = _encode(tokenizer, texts, add_special_tokens=True)
    return [ids[:-1] if len(ids) > 1 and ids[-1] == end else ids for ids in rows]


def encode_rendered(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Returns ids of each text that a chat template made, which holds its special tokens already."""
    return _encode(tokenizer, texts, add_special_tokens=False)


def encode_completion(tokenizer: Tokenizer, completion: str, *, end: bool = True) -> list[int]:
    """Returns completion ids without special tokens, then the EOS if `end`."""
    ids = list(tokenizer.encode(completion, add_special_tokens=False))
    return [*ids, tokenizer.eos_token_id] if end and tokenizer.eos_token_id is not None else ids


def _encode(tokenizer: Any, texts: Sequence[str], *, add_special_tokens: bool) -> list[list[int]]:
    if not callable(tokenizer):
        return [list(tokenizer.encode(text, add_special_tokens=add_special_tokens)) for text in texts]
    ids: list[list[int]] = tokenizer(
        list(texts), add_special_tokens=add_special_tokens, return_attention_mask=False, return_token_type_ids=False
    )["input_ids"]
    return ids


def render(tokenizer: Any, messages: Sequence[Message]) -> str:
    """Returns the conversation as the model reads it, up to where the assistant's answer begins.

    The text holds the special tokens that the template wants, so it is encoded without adding any.

    Raises:
        InputError: the tokenizer has no chat template, or its template refuses the messages.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise InputError(
            "the prompt is a list of messages, but the tokenizer has no chat template; take the tokenizer of a chat "
            "model, set tokenizer.chat_template, or give prompts as texts"
        )
    try:
        text: str = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
    except Exception as error:  # templates raise what they like: jinja2's errors, or a TypeError on a missing key
        raise InputError(f"the tokenizer's chat template refuses the prompt: {error}") from error
    return text


def as_completion(prompt: Prompt, text: str) -> str | list[dict[str, str]]:
    """Returns a completion as reward functions receive it: a text, or the assistant's message to a conversation."""
    return text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]


def completion_text(completion: str | Sequence[Message]) -> str:
    """Returns the text of a completion as reward functions receive it; undoes `as_completion`."""
    return completion if isinstance(completion, str) else str(completion[-1]["content"])


def printable(text: str) -> str:
    r"""Returns text as it can stand in a UTF-8 page or on a terminal: other characters are spelled `\uXXXX`.

    These are control characters, lone surrogates, and the direction overrides that would reorder the page around
    them. Escaping of HTML is the template's.
    """
    return re.sub(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]",
        lambda match: f"\\u{ord(match.group()):04x}",
        text,
    )
