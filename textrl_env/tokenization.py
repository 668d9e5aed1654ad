"""What the environment needs of a tokenizer, and the sequence format that every part shares."""

from collections.abc import Sequence
from typing import Protocol

from textrl_env.errors import InputError


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that the environment uses; anything with these members will do."""

    pad_token_id: int | None
    eos_token_id: int | None

    def __len__(self) -> int: ...

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]: ...

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str: ...


def pad_id(tokenizer: Tokenizer) -> int:
    """The id that fills unused places: the pad id, else the end-of-sequence id; masks come from lengths, never ids."""
    for token_id in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token_id is not None:
            return token_id
    raise InputError("the tokenizer has neither a pad nor an eos token; set tokenizer.pad_token = '…'")


def encode_prompt(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """Prompt ids with the special tokens that the tokenizer puts in front (a BOS, for instance), but no final EOS."""
    ids = list(tokenizer.encode(prompt, add_special_tokens=True))
    return ids[:-1] if len(ids) > 1 and ids[-1] == tokenizer.eos_token_id else ids


def encode_completion(tokenizer: Tokenizer, completion: str, *, end: bool = True) -> list[int]:
    """Completion ids without special tokens, then the EOS if `end`."""
    ids = list(tokenizer.encode(completion, add_special_tokens=False))
    return [*ids, tokenizer.eos_token_id] if end and tokenizer.eos_token_id is not None else ids
