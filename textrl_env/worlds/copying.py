"""Write the prompt again, or backwards: the easiest of the tasks with a right answer."""

from dataclasses import dataclass

import numpy as np

from textrl_env.errors import InputError, require_count
from textrl_env.worlds.answers import LONGEST, AnswerWorld
from textrl_env.worlds.tokenizers import LETTERS, LetterTokenizer


@dataclass(frozen=True, kw_only=True)
class CopyWorld(AnswerWorld):
    """Copy the letters of the prompt, then end; `TextRL/Copy-v0`.

    ## Description
    The prompt is a row of letters, drawn independently. The right answer is the same row and the end token.

    ## Action Space
    `Discrete(V)`, V = `alphabet_size` + 1: the end token 0, then a letter each.

    ## Observation Space
    `Dict(input_ids=Box(0, V-1, (L,), int64), attention_mask=Box(0, 1, (L,), int8))`, L = 2 `length` + 1, left-padded.

    ## Rewards
    Paid at the end: the share of the answer's `length` + 1 tokens, its end token included, that are right before the
    first mistake, in [0, 1]. Partial credit up to the first mistake is how OpenAI Gym's algorithmic environments paid
    this task (+1 per right character, over at the first wrong one; after Zaremba et al. 2015).
    The best mean return is 1 (`best_return`). A uniform random policy gets (V^-1 + … + V^-(length + 1)) / (length + 1),
    0.025 by default (`random_return`).

    ## Starting State
    One of the `n_prompts` prompts, uniformly.

    ## Episode End
    Terminated by the end token or after `length` + 1 tokens.

    ## Information
    As in `textrl_env.TextGenEnv`.

    ## Arguments
    The fields below and the options of `textrl_env.TextGenEnv`.
    """

    alphabet_size: int = 8
    """Letters to choose from, 1 to 26."""
    length: int = 4
    """Letters of a prompt."""

    def __post_init__(self) -> None:
        require_count(1, alphabet_size=self.alphabet_size, length=self.length)
        if self.length > LONGEST:
            raise InputError(f"length must be at most {LONGEST}, got {self.length}")
        if self.alphabet_size > len(LETTERS):
            raise InputError(f"alphabet_size must be at most {len(LETTERS)}, got {self.alphabet_size}")
        super().__post_init__()

    @property
    def n_possible(self) -> int:
        """The number of different prompts."""
        return int(self.alphabet_size**self.length)

    @property
    def tokenizer(self) -> LetterTokenizer:
        """The world's tokenizer."""
        return LetterTokenizer(self.alphabet_size + 1)

    @property
    def max_new_tokens(self) -> int:
        """The longest answer and its end token."""
        return self.length + 1

    def draw(self, rng: np.random.Generator) -> str:
        """Draws a prompt uniformly from all."""
        return "".join(LETTERS[index] for index in rng.integers(self.alphabet_size, size=self.length))

    def answer(self, prompt: str) -> str:
        """Returns the right completion of a prompt."""
        return prompt

    def credit(self, n_right: int, n_tokens: int) -> float:
        """The share of the answer's tokens that are right before the first mistake."""
        return n_right / n_tokens


@dataclass(frozen=True, kw_only=True)
class ReverseWorld(CopyWorld):
    """Write the letters of the prompt in reverse order, then end; `TextRL/Reverse-v0`.

    ## Description
    The prompt is a row of letters, drawn independently. The right answer is the row backwards and the end token.

    ## Action Space
    `Discrete(V)`, V = `alphabet_size` + 1: the end token 0, then a letter each.

    ## Observation Space
    `Dict(input_ids=Box(0, V-1, (L,), int64), attention_mask=Box(0, 1, (L,), int8))`, L = 2 `length` + 1, left-padded.

    ## Rewards
    As in `CopyWorld`, for the same reason: the share of the answer's tokens that are right
    before the first mistake. The best mean return is 1 (`best_return`); a uniform random policy gets 0.025 by default
    (`random_return`).

    ## Starting State
    One of the `n_prompts` prompts, uniformly.

    ## Episode End
    Terminated by the end token or after `length` + 1 tokens.

    ## Information
    As in `textrl_env.TextGenEnv`.

    ## Arguments
    The fields of `CopyWorld` and the options of `textrl_env.TextGenEnv`.
    """

    def answer(self, prompt: str) -> str:
        """Returns the right completion of a prompt."""
        return prompt[::-1]
