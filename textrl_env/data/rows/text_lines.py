"""Lines of text files in the encoding that their first bytes show; bytes that are no UTF-8 stay with their line."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from textrl_env.errors import InputError

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks; those of UTF-32 begin with those of UTF-16."""


def find_encoding(path: Path) -> str:
    """Returns the encoding of a text file: by its byte order mark, or by where its zero bytes are; else UTF-8."""
    with path.open("rb") as file:
        start = file.read(4096)
    for mark, encoding in _MARKS.items():
        if start.startswith(mark):
            return encoding
    # Mostly Latin letters in UTF-16 have every other byte zero.
    places = [start[0::2].count(0), start[1::2].count(0)]
    if max(places) > 0.3 * len(start) / 2 and min(places) < 0.1 * max(places):
        return "utf-16-be" if places[0] > places[1] else "utf-16-le"
    return "utf-8"


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    r"""Yields number and text of each line, its end included; lines end with \n, \r\n or \r.

    Bytes that are no UTF-8 become lone surrogates, see `find_line_fault`.

    Raises:
        InputError: the file is UTF-16 or UTF-32, and damaged.
    """
    encoding = find_encoding(path)
    errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
    try:
        with open(path, encoding=encoding, errors=errors, newline="") as file:
            yield from enumerate(file, start=1)
    except UnicodeError as error:
        raise InputError(f"{path}: not readable as {encoding.upper()}: {error}; save it as UTF-8") from None


def find_line_fault(text: str) -> str | None:
    """Says why a text from `numbered_lines` is none, in words that follow its name; None where it is text."""
    if "\0" in text:
        return "holds a zero byte, which is not text"
    if text.isascii() or not (match := re.search("[\udc80-\udcff]", text)):
        return None
    value = bytes([ord(match[0]) - 0xDC00])
    place = len(text[: match.start()].encode("utf-8", "surrogateescape"))
    guess = value.decode("cp1252", "ignore")
    hint = f"; in Windows-1252 that is {guess!r}" if guess else ""
    return f"not UTF-8 at byte {place} (found 0x{value[0]:02x}{hint}); save the file as UTF-8"
