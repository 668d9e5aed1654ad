"""Texts and conversations in rows: what a prompt may be, and prompt and completion of rows that hold messages."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from textrl_env.data.columns.cells import is_given, read_list
from textrl_env.data.text.display import message_text
from textrl_env.errors import InputError


class Conversation(tuple[Mapping[str, Any], ...]):
    """Messages `{"role": …, "content": …}` as a prompt that can be a key, as a text can."""

    __slots__ = ()

    def __hash__(self) -> int:
        return hash(json.dumps(self, sort_keys=True, default=repr))

    def __eq__(self, other: object) -> bool:
        """Equals a list of the same messages."""
        return tuple.__eq__(self, tuple(other) if isinstance(other, list) else other)

    def __str__(self) -> str:
        """Returns the text of one message, or of several who says what."""
        if len(self) == 1:
            return message_text(self[0])
        return "\n".join(f"{message['role']}: {message_text(message)}" for message in self)


def find_text_fault(value: Any) -> str | None:
    """Says why `value` is no text that can be encoded, in words that follow its name; None where it is (or empty)."""
    if not isinstance(value, str):
        return f"must be text, got {'null' if value is None else type(value).__name__}"
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        return "holds half a surrogate pair, which is not text"
    return None


def find_prompt_fault(value: Any) -> str | None:
    """Says why `value` is no prompt, in words that follow its name; None where it is.

    A prompt is a text, or a list of messages `{"role": …, "content": …}`, with something in it. A content may be a list
    of text parts, and null where the message calls tools. Further keys of a message are the chat template's business.
    """
    if not isinstance(value, list | tuple):
        return find_text_fault(value) or (None if value.strip() else "is empty")
    if fault := find_messages_fault(value):
        return fault
    return None if any(message_text(message).strip() for message in value) else "is empty"


def find_messages_fault(value: Sequence[Any]) -> str | None:
    """Says why a list holds something else than messages of text, in words that follow its name; None where not."""
    for number, message in enumerate(value, start=1):
        if not isinstance(message, Mapping):
            kind = "null" if message is None else type(message).__name__
            return f"must hold messages, objects with 'role' and 'content', but message {number} is {kind}"
        calls_tools = bool(message.get("tool_calls"))
        for key in ("role", "content"):
            if key not in message and not (key == "content" and calls_tools):
                keys = ", ".join(map(repr, message)) or "none"
                return f"must hold messages with {key!r}, but message {number} has none (found: {keys})"
        if fault := find_text_fault(message["role"]):
            return f"must hold messages of text: 'role' of message {number} {fault}"
        if not message["role"].strip():
            return f"must hold messages with a role, but that of message {number} is empty"
        if fault := _find_content_fault(message.get("content"), calls_tools=calls_tools):
            return f"must hold messages of text: 'content' of message {number} {fault}"
    return None


def _find_content_fault(content: Any, *, calls_tools: bool) -> str | None:
    if content is None:
        return None if calls_tools else "must be text, got null, and the message has no 'tool_calls'"
    if not isinstance(content, list | tuple):
        return find_text_fault(content)
    for number, part in enumerate(content, start=1):
        if not isinstance(part, Mapping) or part.get("type", "text") != "text":
            kind = repr(part.get("type")) if isinstance(part, Mapping) else type(part).__name__
            return f"must be text or parts of type 'text', but part {number} is {kind}"
        if "text" not in part:
            return f"must have a 'text' in every part, but part {number} has none"
        if fault := find_text_fault(part["text"]):
            return f"must be text: 'text' of part {number} {fault}"
    return None


def split_row(row: Mapping[str, Any], columns: Sequence[str]) -> tuple[str | Conversation, list[str]]:
    """Returns prompt and completions of a row, which may hold texts or messages; see `split_prompt`.

    Args:
        row: with the columns; `prompt` is optional.
        columns: of the completions.

    Raises:
        InputError: a column is missing, or is not as it should be.
    """
    for column in columns:
        if column not in row:
            raise InputError(f"no column {column!r} (found: {', '.join(map(repr, row)) or 'none'})")
    return split_prompt(row.get("prompt"), {f"column {column!r}": row[column] for column in columns})


def split_messages(row: Mapping[str, Any]) -> tuple[str | Conversation, str]:
    """Returns prompt and last answer of a row whose column `messages` is a whole conversation.

    InputError where it is none, or where the row has a completion beside it.
    """
    if is_given(row.get("completion")):
        raise InputError("both 'messages' and 'completion' are given; one row holds one completion")
    messages = read_list(row, "messages") or []
    prompt, (completion,) = split_prompt(row.get("prompt"), {"column 'messages'": messages})
    return prompt, completion


def split_prompt(prompt: Any, completions: Mapping[str, Any]) -> tuple[str | Conversation, list[str]]:
    """Returns the prompt, "" where there is none, and the text of each completion.

    Forms, as TRL and the data sets for it have them: texts; a conversation and the assistant's messages, or texts;
    whole conversations, whose common beginning is the prompt, and beside which the prompt may stand again as messages
    or as the text of one.

    Args:
        prompt: a text, messages or None.
        completions: texts or messages, by their names in errors.

    Raises:
        InputError: something is neither text nor messages, texts and messages are mixed, or there is more than one
            answer of the assistant behind the prompt.
    """
    for name, value in completions.items():
        fault = find_messages_fault(value) if isinstance(value, list | tuple) else find_text_fault(value)
        if fault := fault or (None if isinstance(value, str) or value else "is empty"):
            raise InputError(f"{name} {fault}")
    prompt = _check_prompt(prompt)
    values, names = list(completions.values()), list(completions)
    if all(isinstance(value, str) for value in values):
        return prompt, values
    if any(isinstance(value, str) for value in values):
        raise InputError(f"{' and '.join(names)}: some are texts and some lists of messages; make them alike")
    beginning = _find_beginning(prompt, values, names[0])
    texts = [
        _read_answer(value[len(beginning) :] if _begins(value, beginning) else value, name)
        for value, name in zip(values, names, strict=True)
    ]
    return Conversation(beginning), texts


def _check_prompt(prompt: Any) -> str | Conversation:
    if not is_given(prompt):
        return "" if prompt is None else prompt
    if fault := find_prompt_fault(prompt):
        raise InputError(f"column 'prompt' {fault}")
    return prompt if isinstance(prompt, str) else Conversation(prompt)


def _find_beginning(prompt: str | Conversation, values: Sequence[Sequence[Any]], name: str) -> Sequence[Any]:
    """Returns the messages before the assistant's answers: the prompt, or those with which all values begin."""
    if not isinstance(prompt, str):
        return prompt
    n_common, shortest = 0, min(map(len, values))
    while n_common < shortest - 1 and all(value[n_common] == values[0][n_common] for value in values):
        n_common += 1
    beginning = values[0][:n_common]
    if prompt.strip() and not any(message_text(message).strip() == prompt.strip() for message in beginning):
        raise InputError(
            f"'prompt' is a text that {name}, a list of messages, does not begin with; make both texts, or messages"
        )
    if not beginning:
        raise InputError(f"{name} is a list of messages without a prompt: give 'prompt', or whole conversations")
    return beginning


def _begins(value: Sequence[Any], beginning: Sequence[Any]) -> bool:
    return len(value) > len(beginning) and list(value[: len(beginning)]) == list(beginning)


def _read_answer(messages: Sequence[Mapping[str, Any]], name: str) -> str:
    if len(messages) != 1:
        raise InputError(f"{name} has {len(messages)} messages after the prompt; expected one, the assistant's")
    if messages[0]["role"] != "assistant":
        raise InputError(f"{name} must end with a message of the assistant, got one of {messages[0]['role']!r:.40}")
    if messages[0].get("tool_calls"):
        raise InputError(f"{name} ends with a call of tools, which the text of a completion does not hold")
    return message_text(messages[0])
