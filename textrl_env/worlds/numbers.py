"""Calculate with two numbers, or sort a few: answers that are right or wrong as a whole."""

import operator
import re
from dataclasses import dataclass

import numpy as np

from textrl_env.errors import InputError, require_count
from textrl_env.worlds.answers import LONGEST, AnswerWorld
from textrl_env.worlds.tokenizers import CharacterTokenizer

OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul}
CALCULATION = re.compile(r"([0-9]+)([-+*])([0-9]+)=")
NUMBERS = re.compile(r"[0-9]+(,[0-9]+)*=")


@dataclass(frozen=True, kw_only=True)
class ArithmeticWorld(AnswerWorld):
    """Write the result of a calculation, then end; `TextRL/Arithmetic-v0`.

    ## Description
    The prompt is a calculation with two numbers from 0 to `largest`, `3-7=`. The right answer is the result in
    decimal, without leading zeros, `-4`, and the end token.

    ## Action Space
    `Discrete(15)`: the end token 0, the digits, `+`, `-`, `*` and `=`.

    ## Observation Space
    `Dict(input_ids=Box(0, 14, (L,), int64), attention_mask=Box(0, 1, (L,), int8))`, left-padded; L is the longest
    prompt + `max_new_tokens`, 7 by default.

    ## Rewards
    Paid at the end: 1 for exactly the right answer, else 0, the standard of verifiable rewards: a wrong number with a
    right digit is wrong (Lambert et al. 2024, section 6). The best mean return is 1 (`best_return`). A uniform random
    policy gets the mean of 15^-(characters of the answer + 1), 0.0028 by default (`random_return`).

    ## Starting State
    One of the `n_prompts` prompts, uniformly.

    ## Episode End
    Terminated by the end token or after `max_new_tokens`, the longest possible answer + 1 (3 by default).

    ## Information
    As in `textrl_env.TextGenEnv`.

    ## Arguments
    The fields below and the options of `textrl_env.TextGenEnv`.
    """

    largest: int = 9
    """Operands are 0 to this."""
    operations: str = "+-"
    """Some of `+`, `-` and `*`, each once."""

    def __post_init__(self) -> None:
        require_count(0, largest=self.largest)
        valid = self.operations and set(self.operations) <= set(OPERATIONS)
        if not valid or len(set(self.operations)) < len(self.operations):
            raise InputError(f"operations must be some of {''.join(OPERATIONS)!r}, each once, got {self.operations!r}")
        super().__post_init__()

    @property
    def n_possible(self) -> int:
        """The number of different prompts."""
        return (self.largest + 1) ** 2 * len(self.operations)

    @property
    def tokenizer(self) -> CharacterTokenizer:
        """The world's tokenizer."""
        return CharacterTokenizer("0123456789+-*=")

    @property
    def max_new_tokens(self) -> int:
        """The longest answer and its end token."""
        # The longest result stands at a corner of the operands' range.
        corners = [(left, right) for left in (0, self.largest) for right in (0, self.largest)]
        return max(len(str(OPERATIONS[sign](*pair))) for sign in self.operations for pair in corners) + 1

    def draw(self, rng: np.random.Generator) -> str:
        """Draws a prompt uniformly from all."""
        left, right = rng.integers(self.largest + 1, size=2)
        return f"{left}{self.operations[rng.integers(len(self.operations))]}{right}="

    def answer(self, prompt: str) -> str:
        """Returns the right completion of a prompt."""
        calculation = CALCULATION.fullmatch(prompt)
        if not calculation:
            raise InputError(f"a prompt of this world is a calculation, such as '3-7=', got {prompt!r}")
        left, sign, right = calculation.groups()
        return str(OPERATIONS[sign](int(left), int(right)))


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
        require_count(1, length=self.length)
        require_count(0, largest=self.largest)
        if self.length > LONGEST:
            raise InputError(f"length must be at most {LONGEST}, got {self.length}")
        super().__post_init__()

    @property
    def n_possible(self) -> int:
        """The number of different prompts."""
        return int((self.largest + 1) ** self.length)

    @property
    def tokenizer(self) -> CharacterTokenizer:
        """The world's tokenizer."""
        return CharacterTokenizer("0123456789,=")

    @property
    def max_new_tokens(self) -> int:
        """The longest answer and its end token."""
        return self.length * (len(str(self.largest)) + 1)

    def draw(self, rng: np.random.Generator) -> str:
        """Draws a prompt uniformly from all."""
        return ",".join(map(str, rng.integers(self.largest + 1, size=self.length))) + "="

    def answer(self, prompt: str) -> str:
        """Returns the right completion of a prompt."""
        if not NUMBERS.fullmatch(prompt):
            raise InputError(
                f"a prompt of this world is numbers with commas and an '=', such as '5,2,9=', got {prompt!r}"
            )
        return ",".join(map(str, sorted(map(int, prompt[:-1].split(",")))))
