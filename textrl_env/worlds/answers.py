"""Tasks with one right answer a prompt, checked by a program: verifiable rewards (RLVR) in miniature."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np

from textrl_env.data.text import Tokenizer
from textrl_env.errors import InputError, require_count, require_seed

LONGEST = 1000
"""Letters or numbers of a prompt, at most."""


@dataclass(frozen=True, kw_only=True)
class AnswerWorld(ABC):
    """A world of distinct prompts, each with one right answer; its subclasses say which.

    A completion is judged by how many of its leading tokens are right. The end token after the answer is one of them,
    so that only the answer itself, nothing before or behind it, is entirely right. One token is one character.
    """

    n_prompts: int | None = None
    """Distinct prompts, at most `n_possible`; None is 64, or all where there are fewer."""
    seed: int = 0
    """Chooses the prompts."""

    def __post_init__(self) -> None:
        require_seed(self.seed)
        if self.n_prompts is not None:
            require_count(1, n_prompts=self.n_prompts)
        if self.n_prompts is not None and self.n_prompts > self.n_possible:
            raise InputError(
                f"n_prompts must be in [1, {self.n_possible}], got {self.n_prompts}; {self} has {self.n_possible} "
                "different prompts"
            )

    @property
    @abstractmethod
    def n_possible(self) -> int:
        """The number of different prompts."""

    @property
    @abstractmethod
    def tokenizer(self) -> Tokenizer:
        """The world's tokenizer."""

    @property
    @abstractmethod
    def max_new_tokens(self) -> int:
        """The longest answer and its end token."""

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> str:
        """Draws a prompt uniformly from all."""

    @abstractmethod
    def answer(self, prompt: str) -> str:
        """Returns the right completion of a prompt."""

    def credit(self, n_right: int, n_tokens: int) -> float:
        """Returns the score of a completion whose first `n_right` of the answer's `n_tokens` tokens are right.

        1 or 0, the standard of verifiable rewards: an answer is right or wrong (Lambert et al. 2024, section 6).
        """
        return float(n_right == n_tokens)

    @property
    def prompts(self) -> list[str]:
        """`n_prompts` distinct prompts; fewer prompts of the same seed are the first of these."""
        n_prompts = min(64, self.n_possible) if self.n_prompts is None else self.n_prompts
        rng = np.random.default_rng(require_seed(self.seed))
        prompts: dict[str, None] = {}
        while len(prompts) < n_prompts:
            prompts[self.draw(rng)] = None
        return list(prompts)

    def reward(self, prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
        """Scores each completion in [0, 1]; 1 for the right answer only."""
        return [self._score(self.answer(prompt), text) for prompt, text in zip(prompts, completions, strict=True)]

    @property
    def best_return(self) -> float:
        """The mean score of the right answers, which no completion exceeds."""
        return float(np.mean(self.reward(self.prompts, [self.answer(prompt) for prompt in self.prompts])))

    @property
    def random_return(self) -> float:
        """The exact mean score of choosing each of the V tokens equally often.

        The first i tokens are all right with probability V^-i, so exactly i of n are with V^-i (1 - 1 / V), and all n
        with V^-n.
        """
        vocab_size = len(self.tokenizer)

        def expectation(n: int) -> float:
            exactly = [vocab_size**-i * (1 - 1 / vocab_size) for i in range(n)] + [vocab_size**-n]
            return float(np.dot(exactly, [self.credit(i, n) for i in range(n + 1)]))

        return float(np.mean([expectation(len(self.answer(prompt)) + 1) for prompt in self.prompts]))

    def _score(self, answer: str, completion: str) -> float:
        same = takewhile(bool, (right == token for right, token in zip(answer, completion, strict=False)))
        return self.credit(sum(same) + (completion == answer), len(answer) + 1)
