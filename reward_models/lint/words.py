"""The words of texts as numbers, all texts in one array."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
# Words, and signs that are not mere punctuation (as U+2010 to U+2027 are, dashes, quotation marks and dots): "a < b"
# and "a > b" do not say the same.
_WORD = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s\"'`.,;:!?()\[\]{}\u2010-\u2027\xab\xbb\xbf\xa1*_-]")


@dataclass(frozen=True)
class Ragged:
    """Rows of numbers of different lengths: row i is `values[starts[i] : starts[i + 1]]`."""

    values: NDArray[np.int32]
    starts: IntArray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        return self.values[self.starts[row] : self.starts[row + 1]]

    @property
    def lengths(self) -> IntArray:
        """(rows,)."""
        return np.diff(self.starts)

    @classmethod
    def of(cls, rows: Iterable[Sequence[int] | NDArray[np.int32]]) -> "Ragged":
        """Rows come one by one and are not kept."""
        parts = [np.asarray(row, dtype=np.int32) for row in rows]
        starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        return cls(np.concatenate([np.zeros(0, dtype=np.int32), *parts]), starts)


@dataclass(frozen=True)
class Words:
    """Of T texts: `ids` are their words in order as numbers into `vocabulary`, without case and punctuation."""

    vocabulary: tuple[str, ...]
    ids: Ragged

    def same(self, texts: Sequence[str]) -> IntArray:
        """(T,) numbers, equal where texts differ in case, white space and punctuation only.

        A text without any word is like no other.
        """
        seen: dict[bytes | str, int] = {}
        keys = (self.ids[i].tobytes() or text for i, text in enumerate(texts))
        return np.array([seen.setdefault(key, len(seen)) for key in keys], dtype=np.int64)


def words_of(texts: Sequence[str]) -> Words:
    """The words of T texts."""
    numbers: dict[str, int] = {}
    ids = Ragged.of([numbers.setdefault(word, len(numbers)) for word in _WORD.findall(text.casefold())]
                    for text in texts)  # fmt: skip
    return Words(tuple(numbers), ids)
