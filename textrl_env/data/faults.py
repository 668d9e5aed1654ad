"""Why a value of unknown origin is no text or no prompt, in words that follow its name; None where it is fine."""

from collections.abc import Mapping
from typing import Any


def text_fault(value: Any) -> str | None:
    """What keeps `value` from being a text that can be encoded; an empty one can."""
    if not isinstance(value, str):
        return f"must be text, got {'null' if value is None else type(value).__name__}"
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        return "holds half a surrogate pair, which is not text"
    return None


def prompt_fault(value: Any) -> str | None:
    """What keeps `value` from being a text, or a list of messages `{"role": …, "content": …}`, with something in it.

    Further keys of a message are the chat template's business.
    """
    if not isinstance(value, list | tuple):
        return text_fault(value) or (None if value.strip() else "is empty")
    for number, message in enumerate(value, start=1):
        if not isinstance(message, Mapping):
            kind = "null" if message is None else type(message).__name__
            return f"must hold messages, objects with 'role' and 'content', but message {number} is {kind}"
        for key in ("role", "content"):
            if key not in message:
                found = ", ".join(map(repr, message)) or "none"
                return f"must hold messages with {key!r}, but message {number} has none (found: {found})"
            if fault := text_fault(message[key]):
                return f"must hold messages of text: {key!r} of message {number} {fault}"
        if not message["role"].strip():
            return f"must hold messages with a role, but that of message {number} is empty"
    return None if any(message["content"].strip() for message in value) else "is empty"
