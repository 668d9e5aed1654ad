"""A dataset's prompts as token ids: every prompt is encoded once, for the check of its length and for the episodes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from textrl_env.data.prompts import PromptDataset, PromptRows
from textrl_env.data.text import Tokenizer
from textrl_env.errors import InputError

Ints = npt.NDArray[np.int64]
CHECKED_AT_ONCE = 1000


class PromptIds:
    """A dataset's prompts as token ids: every prompt is encoded once, when it is first asked for, and kept.

    Environments take it in the place of prompts, so that a check of the prompts' lengths does not cost a second
    encoding; the tokenizer must be the same object:

        prompts = PromptIds(PromptDataset.of("prompts.jsonl"), tokenizer, room=context - max_new_tokens)
        env = TextGenVectorEnv(prompts, reward, tokenizer, max_new_tokens=max_new_tokens)

    `prompt_ids[row]` is (n,) int64, a fresh array.

    Args:
        dataset: the prompts.
        tokenizer: encodes them.
        max_prompt_tokens: most tokens of a prompt. With it, the 1000 prompts with the most bytes are encoded and
            checked at construction, and so is every prompt of a smaller dataset; a prompt beyond them that has too many
            tokens is an InputError when it is asked for. None takes the longest prompt, so every prompt is encoded at
            construction: about a minute for a million.
        room: most tokens of a prompt where the longest one decides.

    Attributes:
        max_prompt_tokens: the argument, or the tokens of the longest prompt.

    Raises:
        InputError: a prompt with no or too many tokens (its row named).
    """

    def __init__(
        self,
        dataset: PromptDataset,
        tokenizer: Tokenizer,
        max_prompt_tokens: int | None = None,
        *,
        room: int | None = None,
    ) -> None:
        self.dataset, self.tokenizer = dataset, tokenizer
        # int32 as bytes: for a million prompts a third of what arrays take, and nothing for the garbage collector.
        self._ids: list[bytes | None] = [None] * len(dataset)
        if max_prompt_tokens is None:
            self.max_prompt_tokens = self._encode(range(len(dataset)), most=room)
        else:
            self._encode(dataset.longest(CHECKED_AT_ONCE), most=max_prompt_tokens)
            self.max_prompt_tokens = max_prompt_tokens

    @classmethod
    def of(cls, prompts: "PromptSource", tokenizer: Tokenizer, max_prompt_tokens: int | None = None) -> "PromptIds":
        """Returns `prompts` themselves where they are ids of this tokenizer, else encodes them.

        Raises:
            InputError: also for ids of another tokenizer, or with another `max_prompt_tokens`.
        """
        if not isinstance(prompts, PromptIds):
            return cls(PromptDataset.of(prompts), tokenizer, max_prompt_tokens)
        if prompts.tokenizer is not tokenizer:
            raise InputError(
                "the prompts were encoded by another tokenizer: make PromptIds and environment with the same"
            )
        if max_prompt_tokens not in (None, prompts.max_prompt_tokens):
            raise InputError(
                f"max_prompt_tokens must be that of the PromptIds, {prompts.max_prompt_tokens}, or None, "
                f"got {max_prompt_tokens}"
            )
        return prompts

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, row: int) -> Ints:
        ids = self._ids[row]
        if ids is None:
            self._encode([row], most=self.max_prompt_tokens)
            return self[row]
        return np.frombuffer(ids, dtype=np.int32).astype(np.int64)

    def _encode(self, rows: Sequence[int], *, most: int | None) -> int:
        """Encodes and keeps the prompts of `rows`; returns the tokens of the longest."""
        longest = 0
        ids_of_rows = self.dataset.encode(self.tokenizer, max_prompt_tokens=most, rows=rows)
        for row, ids in zip(rows, ids_of_rows, strict=True):
            self._ids[row] = ids.astype(np.int32).tobytes()
            longest = max(longest, len(ids))
        return longest


PromptSource = PromptIds | PromptRows
"""What an environment takes its prompts from."""
