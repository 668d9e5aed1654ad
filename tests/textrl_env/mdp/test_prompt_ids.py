"""Prompts as token ids: what is checked at once and what when it is drawn."""

from pathlib import Path
from typing import Any

import pytest

from textrl_env import InputError, TextGenEnv
from textrl_env.agents import train_tokenizer
from textrl_env.data import PromptDataset
from textrl_env.data.text import encode_prompt
from textrl_env.mdp.prompt_ids import CHECKED_AT_ONCE, PromptIds
from textrl_env.worlds.enumerable import LetterTokenizer

SHORT = 3 * CHECKED_AT_ONCE


class Counting(LetterTokenizer):
    """Counts what it encodes; `z` is three tokens."""

    n = 0

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        self.n += 1
        return super().encode(text.replace("z", "aaa"))


def test_with_a_limit_the_longest_are_encoded_at_once_and_the_rest_when_drawn() -> None:
    tokenizer = Counting(8)
    ids = PromptIds(PromptDataset.of(["abc"] * SHORT), tokenizer, 5)
    assert tokenizer.n == CHECKED_AT_ONCE and ids.max_prompt_tokens == 5
    for _ in range(3):
        assert ids[SHORT - 1].tolist() == [1, 2, 3]
    assert tokenizer.n == CHECKED_AT_ONCE + 1


def test_without_a_limit_the_longest_of_all_prompts_decides() -> None:
    prompts = ["ab"] * SHORT
    prompts[7] = "z"  # fewer letters than all others, and more tokens
    assert PromptIds(PromptDataset.of(prompts), Counting(8), None).max_prompt_tokens == 3


def test_a_long_prompt_among_many_is_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("abc\n" * SHORT + "abcdef\n" + "abc\n" * SHORT)
    with pytest.raises(InputError, match=rf"p\.txt:{SHORT + 1}: the prompt has 6 tokens, at most 5 fit"):
        TextGenEnv(path, lambda p, c: [0.0], LetterTokenizer(8), max_prompt_tokens=5)


def test_a_short_text_of_many_tokens_is_named_when_drawn_and_by_a_full_check(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("ab\n" * SHORT + "z\n")
    env = TextGenEnv(path, lambda p, c: [0.0], Counting(8), max_prompt_tokens=2)
    env.reset(options={"prompt_index": 0})
    message = rf"p\.txt:{SHORT + 1}: the prompt has 3 tokens, at most 2 fit \(max_prompt_tokens\)"
    with pytest.raises(InputError, match=message):
        env.reset(options={"prompt_index": SHORT})
    with pytest.raises(InputError, match=message):
        list(PromptDataset.of(path).encode(Counting(8), max_prompt_tokens=2))


@pytest.mark.parametrize("conversations", [False, True])
def test_batches_are_encoded_as_single_prompts(conversations: bool) -> None:
    tokenizer = train_tokenizer(["hello there"], vocab_size=265)
    tokenizer.chat_template = "{{ bos_token }}{{ messages[0]['content'] }}{{ eos_token }}"
    texts = [f"hello {'there ' * (i % 7)}{i}" for i in range(5000)]
    prompts: list[Any] = [[{"role": "user", "content": text}] for text in texts] if conversations else texts
    encoded = [ids.tolist() for ids in PromptDataset.of(prompts).encode(tokenizer)]
    assert len(encoded) == 5000
    assert all(encoded[i] == encode_prompt(tokenizer, prompts[i]) for i in range(0, 5000, 97))
    expected = [tokenizer.bos_token_id, *tokenizer.encode(texts[9], add_special_tokens=False)]
    assert encoded[9] == ([*expected, tokenizer.eos_token_id] if conversations else expected)


def test_a_limit_below_one_token_is_named() -> None:
    with pytest.raises(InputError, match="max_prompt_tokens must be at least 1, got 0"):
        TextGenEnv(["a"], lambda p, c: [0.0], LetterTokenizer(8), max_prompt_tokens=0)
