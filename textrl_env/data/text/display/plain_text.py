"""Texts for people: a message's, a token's, and characters that are safe to print."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from textrl_env.data.text.decoding import decode_tokens
from textrl_env.data.text.tokenizer import Tokenizer

REPLACEMENT = "\ufffd"
# A character has four bytes at most; with some that share a token with a neighbour's, more tokens depend on each other.
LONGEST_GROUP = 8


def message_text(message: Mapping[str, Any]) -> str:
    """Returns the text of a message: its content, or the text parts of it; "" where it has none, as a call of tools."""
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))


def token_texts(tokenizer: Tokenizer, ids: Sequence[int], *, unfinished: bool = False) -> list[str]:
    """Returns the text of each of a completion's tokens; together they are the completion's, the end token's too.

    Tokens may hold bytes of a character: it is the text of the last of them, and the others have none.

    Args:
        tokenizer: of the ids.
        ids: of a completion from its first token on.
        unfinished: further tokens may follow, so that bytes at the end have no text yet; else they are U+FFFD.
    """
    texts: list[str] = []
    while (start := len(texts)) < len(ids):
        size, text = _whole_group(tokenizer, ids[start : start + LONGEST_GROUP])
        if not size and unfinished and len(ids) - start < LONGEST_GROUP:
            return [*texts, *[""] * (len(ids) - start)]
        if not size:
            size, text = 1, decode_tokens(tokenizer, ids[start : start + 1])
        texts += [*[""] * (size - 1), text]
    return texts


def _whole_group(tokenizer: Tokenizer, ids: Sequence[int]) -> tuple[int, str]:
    """The fewest of the first ids that make whole characters, and their text; 0 where no number of them does."""
    for size in range(1, len(ids) + 1):
        text = decode_tokens(tokenizer, ids[:size])
        if REPLACEMENT not in text:
            return size, text
    return 0, ""


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
