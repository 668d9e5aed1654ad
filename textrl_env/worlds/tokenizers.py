"""Tokenizers of worlds whose texts are a few different characters."""

from collections.abc import Sequence

from textrl_env.errors import InputError

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class CharacterTokenizer:
    """A tokenizer with one token a character; id 0 ends a completion and pads. V = number of characters + 1.

    Args:
        characters: the vocabulary in the order of its ids, which start at 1; each once.
    """

    pad_token_id: int | None = 0
    eos_token_id: int | None = 0

    def __init__(self, characters: str) -> None:
        self._characters = characters
        self._ids = {character: index for index, character in enumerate(characters, start=1)}
        if len(self._ids) < len(characters):
            raise InputError(f"a vocabulary names each character once, got {characters!r}")

    def __len__(self) -> int:
        return len(self._characters) + 1

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Returns the ids of the characters; raises InputError naming a character that the vocabulary lacks."""
        for character in text:
            if character not in self._ids:
                raise InputError(f"{character!r} of {text!r:.80} is none of the tokens {self._characters!r}")
        return [self._ids[character] for character in text]

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Returns the characters; the end token is `.` unless special tokens are skipped."""
        end = "" if skip_special_tokens else "."
        return "".join(self._characters[token - 1] if token else end for token in token_ids)


class LetterTokenizer(CharacterTokenizer):
    """A tokenizer with one token a letter, the first `vocab_size` - 1 of the alphabet; id 0 ends and pads."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__(LETTERS[: vocab_size - 1])
