"""A dataset's prompts as token ids: the longest are checked at once, each is encoded when it is first drawn."""

import numpy as np
import numpy.typing as npt

from textrl_env.data import PromptDataset
from textrl_env.data.text import Tokenizer

CHECKED_AT_ONCE = 1000


class PromptIds:
    """Token ids by index, made at the first use and kept.

    With `max_prompt_tokens`, the 1000 prompts with the most bytes are encoded and checked at construction, and so is
    every prompt of a smaller dataset; a prompt beyond them that has too many tokens is an InputError when it is drawn.
    Where that is too late, `PromptDataset.encode` checks every row. Without `max_prompt_tokens` every prompt is encoded
    at construction, as the longest decides: about a minute for a million prompts.

    Attributes:
        max_prompt_tokens: the option, or the tokens of the longest prompt.

    Raises:
        InputError: a prompt with no or too many tokens (its row named).
    """

    def __init__(self, prompts: PromptDataset, tokenizer: Tokenizer, max_prompt_tokens: int | None) -> None:
        self._prompts, self._tokenizer = prompts, tokenizer
        self._known: dict[int, npt.NDArray[np.int64]] = {}
        rows = None if max_prompt_tokens is None else prompts.longest(CHECKED_AT_ONCE)
        most = max(map(len, prompts.encode(tokenizer, max_prompt_tokens=max_prompt_tokens, rows=rows)))
        self.max_prompt_tokens = most if max_prompt_tokens is None else max_prompt_tokens

    def __getitem__(self, index: int) -> npt.NDArray[np.int64]:
        if index not in self._known:
            (ids,) = self._prompts.encode(self._tokenizer, max_prompt_tokens=self.max_prompt_tokens, rows=[index])
            self._known[index] = ids
        return self._known[index]
