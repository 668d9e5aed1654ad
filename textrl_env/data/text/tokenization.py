"""The tokenizer that the environment needs, and the sequence format that every part shares."""

from collections.abc import Sequence
from typing import Any, Protocol

from textrl_env.data.text.conversations import Prompt, render
from textrl_env.errors import InputError


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
