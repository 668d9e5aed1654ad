"""Prompts that are conversations: the text that a chat template makes of them, and completions as messages."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from textrl_env.data.text.display import message_text
from textrl_env.data.text.traits import tokenizer_traits
from textrl_env.errors import InputError

Message = Mapping[str, Any]
Prompt = str | Sequence[Message]

# Characters that Unicode keeps for programs; around the text of a special token in a message they say that it is text.
OPEN, CLOSE = "\ufdd0", "\ufdd1"
# And this one stands where an answer begins that has no text yet.
BEGIN = "\ufdd2"


def render(tokenizer: Any, messages: Sequence[Message]) -> str:
    """Returns the conversation as the model reads it, up to where the assistant's answer begins, or goes on.

    The text holds the special tokens that the template wants. Where the last message is the assistant's, the answer has
    begun: the text ends with that message, which the completion continues.

    Raises:
        InputError: the tokenizer has no chat template, or its template refuses the messages.
    """
    return unmark(render_marked(tokenizer, messages))


def render_marked(tokenizer: Any, messages: Sequence[Message]) -> str:
    """Returns the conversation as `render` does, with marks around the special tokens' texts that messages hold."""
    if not getattr(tokenizer, "chat_template", None):
        raise InputError(
            "the prompt is a list of messages, but the tokenizer has no chat template; take the tokenizer of a chat "
            "model, set tokenizer.chat_template, or give prompts as texts"
        )
    specials = sorted(tokenizer_traits(tokenizer).specials, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, specials)) or "(?!)")
    inputs = [_mark(dict(message), pattern) for message in messages]
    begins = bool(inputs) and inputs[-1].get("role") == "assistant"
    options = {"continue_final_message": True} if begins else {"add_generation_prompt": True}
    if begins and not message_text(messages[-1]).strip() and messages[-1].get("tool_calls"):
        raise InputError(
            "the prompt's last message is the assistant's and calls tools without a text, so that there is nothing to "
            "continue; append the tool's answer, or remove the message"
        )
    if begins and not message_text(messages[-1]).strip():
        # Without a text the line breaks in front of it would go with those behind it.
        inputs[-1] = {**inputs[-1], "content": message_text(messages[-1]) + BEGIN}
    return _apply_template(tokenizer, inputs, options).removesuffix(BEGIN)


def _apply_template(tokenizer: Any, messages: list[dict[str, Any]], options: Mapping[str, Any]) -> str:
    """The template's text of messages; where it knows nothing of parts, that of the same messages without them."""
    with_parts = [message for message in messages if isinstance(message.get("content"), list)]
    if with_parts:
        with suppress(Exception):  # Many templates add content to a text, which a list refuses by TypeError.
            text: str = tokenizer.apply_chat_template(messages, tokenize=False, **options)
            if _shows_parts(text, with_parts):
                return text
        messages = [{**message, "content": message_text(message)} for message in messages]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, **options)
    except Exception as error:  # templates raise what they like: jinja2's errors, or a TypeError on a missing key
        raise InputError(f"the tokenizer's chat template refuses the prompt: {unmark(str(error))}") from error
    if with_parts and not _shows_parts(text, with_parts):
        raise InputError(
            "the tokenizer's chat template shows no message whose content is a list of parts; make it text"
        )
    return text


def _shows_parts(text: str, messages: Sequence[Message]) -> bool:
    """True where the text of some of the messages is in a rendered conversation, and of none its Python list."""
    shows_text = any(message_text(message).strip() in text for message in messages)
    return shows_text and not any(str(message["content"]) in text for message in messages)


def unmark(text: str) -> str:
    """Returns a text without the marks of `render_marked`."""
    return text.replace(OPEN, "").replace(CLOSE, "")


def _mark(value: Any, pattern: re.Pattern[str]) -> Any:
    """A message's value with marks in its texts, those that came with them removed; a role's included."""
    if isinstance(value, str):
        return pattern.sub(f"{OPEN}\\g<0>{CLOSE}", unmark(value))
    if isinstance(value, Mapping):
        return {key: _mark(entry, pattern) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_mark(entry, pattern) for entry in value]
    return value


def as_completion(prompt: Prompt, text: str) -> str | list[dict[str, str]]:
    """Returns a completion as reward functions receive it: a text, or the assistant's message to a conversation."""
    return text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]


def completion_text(completion: str | Sequence[Message]) -> str:
    """Returns the text of a completion as reward functions receive it; undoes `as_completion`."""
    return completion if isinstance(completion, str) else message_text(completion[-1])
