"""Tokenizers that can be used, and models that have an embedding for each of their ids."""

from numbers import Integral
from typing import Any

from textrl_env.errors import InputError


def check_fits(model: Any, tokenizer: Any, *, name: str = "the model") -> None:
    """Raises InputError unless the model has an embedding for every id of the tokenizer.

    Args:
        model: of transformers, with adapters or without.
        tokenizer: of transformers, or only how many ids it has.
        name: what the message calls the model.
    """
    if not (isinstance(tokenizer, Integral) or hasattr(tokenizer, "__len__")) or isinstance(tokenizer, str | bool):
        raise InputError(f"expected a tokenizer of transformers, got {type(tokenizer).__name__} {tokenizer!r:.80}")
    n_ids = int(tokenizer) if isinstance(tokenizer, Integral) else len(tokenizer)
    n_embeddings = int(model.get_input_embeddings().weight.shape[0])
    if n_ids > n_embeddings:
        place = getattr(model, "name_or_path", "")
        raise InputError(
            f"{f'{name}, {place},' if place else name} knows {n_embeddings} tokens, the tokenizer has {n_ids}; use the "
            "tokenizer that the model was trained with, or resize the embeddings and train them"
        )
    if not isinstance(tokenizer, Integral):
        check_ids(tokenizer)


def check_ids(tokenizer: Any, place: str = "the tokenizer") -> None:
    """Raises InputError unless the ids of a tokenizer are 0 to len(tokenizer) - 1.

    Args:
        tokenizer: of transformers.
        place: where it is from, for the message.
    """
    n_ids, token, largest = len(tokenizer), None, -1
    if not hasattr(tokenizer, "get_vocab"):
        return  # One of the user's own, see `textrl_env.data.text.Tokenizer`.
    for candidate, number in tokenizer.get_vocab().items():
        if number > largest:
            token, largest = candidate, number
    if largest >= n_ids:
        raise InputError(
            f"{place}: has {n_ids} tokens, but ids up to {largest} ({token!r:.60}): some ids in between have no token, "
            "and none of them may be sampled. Add tokens for them"
        )
