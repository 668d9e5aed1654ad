"""Texts of unknown origin as they can stand on a page or a terminal."""

import re


def printable(text: str) -> str:
    """Text as it can stand in a UTF-8 page: control characters and lone surrogates spelled out.

    Escaping of HTML is the template's. Direction overrides would reorder the page around them: spelled out too.
    """
    return re.sub("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]", _spelled, text)


def _spelled(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"
