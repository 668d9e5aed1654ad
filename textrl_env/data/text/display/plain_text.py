"""Texts for people: a message's, a token's, and characters that are safe to print."""

import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from textrl_env.data.text.decoding import LONGEST_GROUP, REPLACEMENT, character_groups
from textrl_env.data.text.tokenizer import Tokenizer


def message_text(message: Mapping[str, Any]) -> str:
    """Returns the text of a message: its content, or the text parts of it; "" where it has none, as a call of tools."""
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))


def token_texts(tokenizer: Tokenizer, ids: Sequence[int], *, is_open: bool = False) -> list[str]:
    """Returns the text of each of a completion's tokens; together they are the completion's, the end token's too.

    Tokens may hold bytes of a character: it is the text of the last of them, and the others have none.

    Args:
        tokenizer: of the ids.
        ids: of a completion from its first token on.
        is_open: further tokens may follow, so that bytes at the end have no text yet; else they are U+FFFD.
    """
    texts: list[str] = []
    for group, text in character_groups(tokenizer, ids):
        texts += [*[""] * (len(group) - 1), text]
    n_open = len(list(takewhile(lambda text: REPLACEMENT in text, reversed(texts)))) if is_open else 0
    n_whole = len(texts) - min(n_open, LONGEST_GROUP - 1)
    return texts[:n_whole] + [""] * (len(texts) - n_whole)


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
