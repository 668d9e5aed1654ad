"""Do the prompts fit the model? Asked before anything large is loaded."""

from pathlib import Path
from typing import Any

from textrl_env.data import PromptDataset
from textrl_env.errors import InputError
from textrl_env.lm import load_config, load_tokenizer


def fitting_tokenizer(model: Path, prompts: PromptDataset, *, max_new_tokens: int) -> Any:
    """The tokenizer in a model's folder, once every prompt with a completion is known to fit the model's context.

    InputError names the option that leaves no room, or the row of a prompt that is too long.
    """
    context = load_config(model).get_text_config().max_position_embeddings
    room = context - max_new_tokens
    if room < 1:
        raise InputError(
            f"max_new_tokens {max_new_tokens} leaves no room for a prompt: the context of {model} is {context} tokens"
        )
    tokenizer = load_tokenizer(model)
    for _ in prompts.encode(tokenizer, max_prompt_tokens=room):
        pass
    return tokenizer
