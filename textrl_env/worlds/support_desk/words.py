"""The support desk's own tokenizer: a token is a word or a mark of its language."""

from collections.abc import Sequence

from textrl_env.errors import InputError
from textrl_env.worlds.support_desk import language


class WordTokenizer:
    """One token a word or mark of `vocabulary()`; id 0 ends a completion and pads. White space is no token."""

    pad_token_id: int | None = 0
    eos_token_id: int | None = 0

    def __init__(self) -> None:
        self._words = language.vocabulary()
        self._ids = {word: index for index, word in enumerate(self._words, start=1)}

    def __len__(self) -> int:
        return len(self._words) + 1

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Ids of the words and marks; raises InputError naming one that the support desk does not know."""
        tokens = language.tokens(text)
        for token in tokens:
            if token not in self._ids:
                raise InputError(f"the support desk's language has no {token!r}, got {text!r:.80}")
        return [self._ids[token] for token in tokens]

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Each word with a space before it, as completions are written, and marks without; the end as `<end>`."""
        words = [
            self._words[token - 1] if token else "<end>" for token in token_ids if token or not skip_special_tokens
        ]
        return "".join(f" {word}" if word[-1].isalnum() else word for word in words)
