"""Tokenizers that can be used, and models that have an embedding for each of their ids."""

from typing import Any

from textrl_env.errors import InputError


def check_fits(model: Any, tokenizer: Any, *, name: str = "the model") -> None:
    """Raises InputError unless the model has an embedding for every id of the tokenizer.

    Args:
        model: of transformers, with adapters or without.
        tokenizer: of transformers.
        name: what the message calls the model.
    """
    check_ids(tokenizer)
    embeddings = model.get_input_embeddings()
    n_embeddings, n_ids = int(embeddings.weight.shape[0]), len(tokenizer)
    if n_ids > n_embeddings:
        raise InputError(
            f"{name} knows {n_embeddings} tokens, the tokenizer has {n_ids} (the first one too many is "
            f"{tokenizer.decode([n_embeddings])!r:.60}); use the tokenizer that the model was trained with, or resize "
            "the embeddings and train them"
        )


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
