"""Texts as arrays of numbers: their words, and their tokens as a reward model reads them."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textrl_env.data.text import Prompt, encode_completion, encode_prompts

IntArray = NDArray[np.int64]
# Words, and signs that are not mere punctuation (as U+2010 to U+2027 are, dashes, quotation marks and dots): "a < b"
# and "a > b" do not say the same.
_WORD = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s\"'`.,;:!?()\[\]{}\u2010-\u2027\xab\xbb\xbf\xa1*_-]")
_BATCH = 1000


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
        """Takes rows one by one, as int32, and joins them."""
        parts = [np.asarray(row, dtype=np.int32) for row in rows]
        starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        return cls(np.concatenate([np.zeros(0, dtype=np.int32), *parts]), starts)


@dataclass(frozen=True)
class Words:
    """The words of T texts in order, `ids`, as numbers into `vocabulary`, without case and punctuation."""

    vocabulary: tuple[str, ...]
    ids: Ragged

    def number_texts(self, texts: Sequence[str]) -> IntArray:
        """Returns (T,) numbers, equal where texts differ in case, white space and punctuation only.

        A text without any word is like no other.
        """
        numbers: dict[bytes | str, int] = {}
        keys = (self.ids[i].tobytes() or text for i, text in enumerate(texts))
        return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def split_words(texts: Sequence[str]) -> Words:
    """Splits T texts into words."""
    numbers: dict[str, int] = {}
    words = (_WORD.findall(text.casefold()) for text in texts)
    ids = Ragged.of([numbers.setdefault(word, len(numbers)) for word in row] for row in words)
    return Words(tuple(numbers), ids)


@dataclass(frozen=True)
class TokenBudget:
    """Most tokens of prompt, completion and end token together, by a tokenizer."""

    tokenizer: Any
    max_tokens: int


@dataclass(frozen=True)
class TokenIds:
    """Token ids by text number, as of `RewardModel.encode`; a text has none in a part that it does not occur in.

    Attributes:
        prompts: of texts that are prompts; of an empty prompt those in front of every text (a BOS).
        completions: of texts that are completions, without the end token.
    """

    prompts: Ragged
    completions: Ragged


def encode_texts(
    tokenizer: Any,
    texts: Sequence[str],
    *,
    prompts: set[int],
    completions: set[int],
    conversations: Mapping[int, Sequence[Mapping[str, Any]]],
) -> TokenIds:
    """Encodes the texts that are prompts and those that are completions, given by number; some are in both.

    Prompts that are conversations, by text number, go through the chat template.
    """
    n_ends = tokenizer.eos_token_id is not None

    def completion_ids(batch: Sequence[str]) -> list[list[int]]:
        rows = (encode_completion(tokenizer, text) for text in batch)
        return [ids[: len(ids) - n_ends] for ids in rows]

    inputs: dict[int, Prompt] = {number: conversations.get(number, texts[number]) for number in prompts}
    answers = {number: texts[number] for number in completions}
    return TokenIds(
        _encode(len(texts), inputs, lambda batch: encode_prompts(tokenizer, batch)),
        _encode(len(texts), answers, completion_ids),
    )


def _encode(n: int, inputs: Mapping[int, Any], encode: Callable[[Sequence[Any]], list[list[int]]]) -> Ragged:
    """The ids of n texts; those that are no inputs have none."""
    ids: dict[int, Any] = {}
    numbers = list(inputs)
    for start in range(0, len(numbers), _BATCH):
        batch = numbers[start : start + _BATCH]
        # Arrays: a list of a hundred thousand texts' ids would take gigabytes.
        rows = Ragged.of(encode([inputs[number] for number in batch]))
        ids |= {number: rows[i] for i, number in enumerate(batch)}
    return Ragged.of(ids.get(number, ()) for number in range(n))
