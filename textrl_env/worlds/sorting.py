"""Sort a few numbers: an answer of several tokens that is right or wrong as a whole."""

import re
from dataclasses import dataclass

import numpy as np

from textrl_env.errors import InputError, require_at_least
from textrl_env.worlds.answers import AnswerWorld
from textrl_env.worlds.characters import CharacterTokenizer

PROMPT = re.compile(r"[0-9]+(,[0-9]+)*=")


@dataclass(frozen=True, kw_only=True)
class SortWorld(AnswerWorld):
    """Write the numbers of the prompt in ascending order, then end; `TextRL/Sort-v0`.

    ## Description
    The prompt is `length` numbers, drawn independently from 0 to `largest`: `5,2,9=`. The right answer is `2,5,9` and
    the end token.

    ## Action Space
    `Discrete(13)`: the end token 0, the digits, the comma and `=`.

    ## Observation Space
    `Dict(input_ids=Box(0, 12, (L,), int64), attention_mask=Box(0, 1, (L,), int8))`, left-padded; L is the longest
    prompt + `max_new_tokens`, 12 by default.

    ## Rewards
    Paid at the end: 1 for exactly the right answer, else 0, as sorting is scored in collections of verifiable tasks
    (`number_sorting` of Reasoning Gym): part of a sorted row is no sorted row. The best mean return is 1
    (`best_return`). A uniform random policy gets the mean of 13^-(characters of the answer + 1), 2.1e-07 by default
    (`random_return`): start from demonstrations, or with `length=1`.

    ## Starting State
    One of the `n_prompts` prompts, uniformly.

    ## Episode End
    Terminated by the end token or after `length` times (digits of `largest` + 1) tokens.

    ## Information
    As in `textrl_env.TextGenEnv`.

    ## Arguments
    The fields below and the options of `textrl_env.TextGenEnv`.
    """

    length: int = 3
    """Numbers of a prompt."""
    largest: int = 9
    """Numbers are 0 to this."""

    def __post_init__(self) -> None:
        require_at_least(1, length=self.length)
        require_at_least(0, largest=self.largest)
        super().__post_init__()

    @property
    def n_possible(self) -> int:
        return int((self.largest + 1) ** self.length)

    @property
    def tokenizer(self) -> CharacterTokenizer:
        return CharacterTokenizer("0123456789,=")

    @property
    def max_new_tokens(self) -> int:
        return self.length * (len(str(self.largest)) + 1)

    def draw(self, rng: np.random.Generator) -> str:
        return ",".join(map(str, rng.integers(self.largest + 1, size=self.length))) + "="

    def answer(self, prompt: str) -> str:
        if not PROMPT.fullmatch(prompt):
            raise InputError(
                f"a prompt of this world is numbers with commas and an '=', such as '5,2,9=', got {prompt!r}"
            )
        return ",".join(map(str, sorted(map(int, prompt[:-1].split(",")))))
