"""Prompts and completions as texts or as messages, in the form that TRL and transformers' chat templates have."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from textrl_env.errors import InputError

Message = Mapping[str, Any]
Prompt = str | Sequence[Message]


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
