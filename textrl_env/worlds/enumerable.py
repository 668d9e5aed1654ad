"""A world small enough to enumerate: a random score for every completion, so that the optimum is known exactly."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from textrl_env.oracle import PrefixTree, prefix_tree

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class LetterTokenizer:
    """One token a letter; id 0 ends a completion and pads."""

    pad_token_id: int | None = 0
    eos_token_id: int | None = 0

    def __init__(self, vocab_size: int) -> None:
        self._letters = LETTERS[: vocab_size - 1]

    def __len__(self) -> int:
        return len(self._letters) + 1

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Ids of the letters; raises KeyError for a letter that the vocabulary lacks."""
        ids = {letter: index for index, letter in enumerate(self._letters, start=1)}
        return [ids[letter] for letter in text]

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """The letters; the end token as `.` unless special tokens are skipped."""
        end = "" if skip_special_tokens else "."
        return "".join(self._letters[token - 1] if token else end for token in token_ids)


@dataclass(frozen=True)
class EnumerableWorld:
    """Prompts of two letters; a completion's score is the sum of random weights of its neighbouring letters.

    A completion is up to `horizon` letters, ended by token 0 or by the limit. Each prompt has its own weights, drawn
    from N(0, 1 / horizon) for every pair of neighbours (the first letter's neighbour is the prompt's last, the end
    counts as a letter), so that good first letters and good endings must be found together. Everything follows from
    `seed`.
    """

    vocab_size: int = 8
    horizon: int = 4
    n_prompts: int = 4
    seed: int = 0

    @property
    def tokenizer(self) -> LetterTokenizer:
        """The world's tokenizer, V = `vocab_size`."""
        return LetterTokenizer(self.vocab_size)

    @property
    def prompts(self) -> list[str]:
        """Distinct prompts of two letters."""
        letters = LETTERS[: self.vocab_size - 1]
        pairs = [first + second for first in letters for second in letters]
        chosen = np.random.default_rng(self.seed).choice(len(pairs), self.n_prompts, replace=False)
        return [pairs[index] for index in chosen]

    def reward(self, prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
        """The score of each completion."""
        return [self._score(prompt, completion) for prompt, completion in zip(prompts, completions, strict=True)]

    def tree(self, prompt: str) -> PrefixTree:
        """All completions of a prompt with their scores, for `textrl_env.oracle`."""
        tokenizer = self.tokenizer

        def score(completions: list[list[int]]) -> list[float]:
            return [self._score(prompt, tokenizer.decode(ids, skip_special_tokens=True)) for ids in completions]

        return prefix_tree(self.vocab_size, self.horizon, eos_id=0, score=score)

    def _score(self, prompt: str, completion: str) -> float:
        weights = _weights(self, prompt)
        ids = self.tokenizer.encode(prompt[-1] + completion)
        ended = [*ids, 0] if len(completion) < self.horizon else ids
        return float(sum(weights[left, right] for left, right in pairwise(ended)))


@cache
def _weights(world: EnumerableWorld, prompt: str) -> npt.NDArray[np.float64]:
    """(V, V) weights of neighbouring tokens for one prompt."""
    rng = np.random.default_rng([world.seed, *prompt.encode()])
    return rng.normal(scale=world.horizon**-0.5, size=(world.vocab_size, world.vocab_size))
