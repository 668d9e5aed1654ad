"""A tokenizer's least form, the id that pads, and the ids that end a completion."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

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


def end_token_ids(tokenizer: Tokenizer, model: Any = None) -> tuple[int, ...]:
    """Returns the ids that end a completion: the tokenizer's end token first, then those of the model's settings.

    Chat models have several: Llama 3's `generation_config.json` names three, of which the tokenizer knows one.

    Args:
        tokenizer: ids outside its vocabulary are left out.
        model: a model of transformers (its `generation_config`), or its folder (`generation_config.json`, else
            `config.json`); None for the tokenizer's end token alone.
    """
    if isinstance(model, str | Path):
        settings = _read_end_ids(Path(model))
    else:
        settings = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ends = [tokenizer.eos_token_id, *(settings if isinstance(settings, Iterable) else [settings])]
    # As keys of a dictionary: each once, in order.
    return tuple(dict.fromkeys(int(end) for end in ends if end is not None and 0 <= end < len(tokenizer)))


def _read_end_ids(folder: Path) -> Any:
    """The `eos_token_id` of the first of a folder's files that has one: a number, a list, or None."""
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        if not path.is_file():
            continue
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
            end = settings.get("eos_token_id")
        except (ValueError, AttributeError) as error:
            raise InputError(f"{path}: expected one JSON object ({error})") from None
        ids = end if isinstance(end, list) else [] if end is None else [end]
        if not all(isinstance(number, int) for number in ids):
            raise InputError(f"{path}: eos_token_id must be a token id or a list of them, got {end!r:.80}")
        if ids:
            return ids
    return None
