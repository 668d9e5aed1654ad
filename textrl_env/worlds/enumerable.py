"""A world small enough to enumerate: a random score for every completion, so that the optimum is known exactly."""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from textrl_env.errors import InputError, require_count, require_seed
from textrl_env.oracle import PrefixTree, prefix_tree
from textrl_env.worlds import exact
from textrl_env.worlds.tokenizers import LETTERS, LetterTokenizer


@dataclass(frozen=True)
class EnumerableWorld:
    """Write letters whose neighbours go well together; `TextRL/Enumerable-v0`.

    ## Description
    The prompt is two letters. A completion's score is the sum of random weights of its neighbouring letters. Each
    prompt has its own weights, drawn from N(0, 1 / horizon) for every pair of neighbours (the first letter's neighbour
    is the prompt's last, the end counts as a letter), so that good first letters and good endings must be found
    together. Everything follows from `seed`.

    ## Action Space
    `Discrete(vocab_size)`: the end token 0, then a letter each.

    ## Observation Space
    `Dict(input_ids=Box(0, V-1, (L,), int64), attention_mask=Box(0, 1, (L,), int8))`, L = 2 + `horizon`, left-padded.

    ## Rewards
    The score, paid at the end; it may be negative. The best mean return is `best_return`, 2.835 by default; a uniform
    random policy gets `random_return`, 0.173. Both are found by looking at every completion.

    ## Starting State
    One of the `n_prompts` prompts, uniformly.

    ## Episode End
    Terminated by the end token or after `horizon` tokens.

    ## Information
    As in `textrl_env.TextGenEnv`.

    ## Arguments
    The fields below and the options of `textrl_env.TextGenEnv`.
    """

    vocab_size: int = 8
    """V, the letters and the end token: 2 to 27."""
    horizon: int = 4
    """The most letters of a completion."""
    n_prompts: int = 4
    """Distinct prompts, at most (`vocab_size` - 1)^2."""
    seed: int = 0
    """Decides prompts and weights."""

    def __post_init__(self) -> None:
        require_count(2, vocab_size=self.vocab_size)
        require_count(1, horizon=self.horizon, n_prompts=self.n_prompts)
        require_seed(self.seed)
        if self.vocab_size > len(LETTERS) + 1:
            raise InputError(f"vocab_size must be at most {len(LETTERS) + 1}, got {self.vocab_size}")
        if self.n_prompts > (self.vocab_size - 1) ** 2:
            raise InputError(
                f"n_prompts={self.n_prompts}, but {self.vocab_size - 1} letters make only "
                f"{(self.vocab_size - 1) ** 2} prompts; lower n_prompts or raise vocab_size"
            )

    @property
    def tokenizer(self) -> LetterTokenizer:
        """The world's tokenizer, V = `vocab_size`."""
        return LetterTokenizer(self.vocab_size)

    @property
    def max_new_tokens(self) -> int:
        """The horizon."""
        return self.horizon

    @property
    def prompts(self) -> list[str]:
        """Distinct prompts of two letters."""
        letters = LETTERS[: self.vocab_size - 1]
        pairs = [first + second for first in letters for second in letters]
        chosen = np.random.default_rng(require_seed(self.seed)).choice(len(pairs), self.n_prompts, replace=False)
        return [pairs[index] for index in chosen]

    def reward(self, prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
        """Scores each completion."""
        return [self._score(prompt, completion) for prompt, completion in zip(prompts, completions, strict=True)]

    def tree(self, prompt: str) -> PrefixTree:
        """Builds the tree of all completions of a prompt with their scores, for `textrl_env.oracle`."""
        weights, before = _weights(self, prompt), self.tokenizer.encode(prompt)[-1]

        def score(completions: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
            # From left to right, a column at a time: the same sums as `reward`, rounded alike.
            left, right = np.insert(completions, 0, before, axis=1)[:, :-1].T, completions.T
            return np.asarray(sum(weights[pair] for pair in zip(left, right, strict=True)))

        return prefix_tree(self.vocab_size, self.horizon, eos_id=0, score=score)

    @property
    def best_return(self) -> float:
        """The mean over prompts of the best completion's score, exact."""
        return float(np.mean([exact.best_score(self.tree(prompt)) for prompt in self.prompts]))

    @property
    def random_return(self) -> float:
        """The mean score of a uniform random policy, exact."""
        return float(np.mean([exact.random_score(self.tree(prompt)) for prompt in self.prompts]))

    def _score(self, prompt: str, completion: str) -> float:
        weights = _weights(self, prompt)
        ids = self.tokenizer.encode(prompt[-1] + completion)
        ids += [0] if len(completion) < self.horizon else []
        return float(sum(weights[left, right] for left, right in pairwise(ids)))


@cache
def _weights(world: EnumerableWorld, prompt: str) -> npt.NDArray[np.float64]:
    """Draws the (V, V) weights of neighbouring tokens for one prompt."""
    rng = np.random.default_rng([require_seed(world.seed), *prompt.encode()])
    return rng.normal(scale=world.horizon**-0.5, size=(world.vocab_size, world.vocab_size))
