"""The support desk as a world: its prompts, its gold reward and a tokenizer of its words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from textrl_env.errors import InputError, require_count, require_seed
from textrl_env.worlds.support_desk import language
from textrl_env.worlds.support_desk.gold import gold_reward
from textrl_env.worlds.support_desk.replies import best_completion
from textrl_env.worlds.support_desk.requests import Split, prompts


class WordTokenizer:
    """A tokenizer with one token a word or mark of `vocabulary()`.

    Id 0 ends a completion and pads. White space is no token.
    """

    pad_token_id: int | None = 0
    eos_token_id: int | None = 0

    def __init__(self) -> None:
        self._words = language.vocabulary()
        self._ids = {word: index for index, word in enumerate(self._words, start=1)}

    def __len__(self) -> int:
        return len(self._words) + 1

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Returns the ids of the words and marks; raises InputError naming one that the support desk does not know."""
        tokens = language.tokens(text)
        for token in tokens:
            if token not in self._ids:
                raise InputError(f"the support desk's language has no {token!r}, got {text!r:.80}")
        return [self._ids[token] for token in tokens]

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Returns words with a space before each, as completions are written, and marks; the end is `<end>`."""
        words = [
            self._words[token - 1] if token else "<end>" for token in token_ids if token or not skip_special_tokens
        ]
        return "".join(f" {word}" if word[-1].isalnum() else word for word in words)


@dataclass(frozen=True, kw_only=True)
class SupportDeskWorld:
    """Answer a customer; `TextRL/SupportDesk-v0`. The package `textrl_env.worlds.support_desk` says more.

    ## Description
    A customer asks for help or for what must be refused; the reply is one to six short sentences.

    ## Action Space
    `Discrete(297)`: the end token 0, then each word and mark of the world's language. Another `tokenizer=` gives
    another space; completions and prompts are the same texts.

    ## Observation Space
    `Dict(input_ids=Box(0, 296, (L,), int64), attention_mask=Box(0, 1, (L,), int8))`, left-padded; L is the longest
    prompt (at most 34 tokens) + 49.

    ## Rewards
    The gold reward, paid at the end, in [0, 1]. The best mean return is 1 (`best_return`). A uniform random policy
    gets 0: of 10,000 completions none scores (measured, `pytest tests/textrl_env/worlds/test_worlds.py -k desk`), so
    start from a model of the demonstrations.

    ## Starting State
    One of the `n_prompts` prompts, uniformly.

    ## Episode End
    Terminated by the end token or after 49 tokens, which leaves room for every demonstration and its end.

    ## Information
    As in `textrl_env.TextGenEnv`.

    ## Arguments
    The fields below and the options of `textrl_env.TextGenEnv`.
    """

    n_prompts: int = 1000
    """Distinct prompts."""
    split: Split = "train"
    """"train" or "heldout"."""
    seed: int = 0
    """Chooses the prompts."""

    def __post_init__(self) -> None:
        require_count(1, n_prompts=self.n_prompts)
        require_seed(self.seed)

    @property
    def tokenizer(self) -> WordTokenizer:
        """The world's tokenizer, a token a word."""
        return WordTokenizer()

    @property
    def max_new_tokens(self) -> int:
        """Room for every demonstration and its end token."""
        return 49

    @property
    def prompts(self) -> list[str]:
        """The texts of `support_desk.prompts`."""
        return [row["prompt"] for row in prompts(self.n_prompts, seed=self.seed, split=self.split)]

    def reward(self, prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
        """Computes the gold reward of each completion."""
        return gold_reward(prompts, completions)

    @property
    def best_return(self) -> float:
        """The mean gold of a perfect answer to each prompt; gold is at most 1."""
        rng = np.random.default_rng(require_seed(self.seed))
        return float(np.mean(self.reward(self.prompts, [best_completion(prompt, rng) for prompt in self.prompts])))
