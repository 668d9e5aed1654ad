"""Prompts as token ids: each is encoded once; what is checked at once and what when it is drawn."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from textrl_env import InputError, TextGenEnv, TextGenVectorEnv
from textrl_env.agents import train_tokenizer
from textrl_env.data import PromptDataset, PromptIds
from textrl_env.data.prompt_ids import CHECKED_AT_ONCE
from textrl_env.data.text import encode_prompt
from textrl_env.worlds import LetterTokenizer

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


def play(env: TextGenEnv | TextGenVectorEnv, tokens: Any) -> None:
    """200 steps, an episode each; every one of 20 prompts is drawn many times."""
    env.reset(seed=0)
    for _ in range(200):
        env.step(tokens)
        if isinstance(env, TextGenEnv):
            env.reset()


@pytest.mark.parametrize("limit", [None, 5])
def test_environments_encode_every_prompt_once(limit: int | None) -> None:
    options: dict[str, Any] = {"max_new_tokens": 1, "max_prompt_tokens": limit}
    prompts, reward = ["abc"] * 10 + ["de"] * 10, lambda prompts: [0.0] * len(prompts)

    tokenizer = Counting(8)
    play(TextGenEnv(prompts, reward, tokenizer, **options), 0)
    assert tokenizer.n == 20

    tokenizer = Counting(8)
    play(TextGenVectorEnv(prompts, reward, tokenizer, num_envs=4, **options), np.zeros(4, dtype=int))
    assert tokenizer.n == 20


def test_what_was_encoded_for_a_check_serves_the_environments_too() -> None:
    tokenizer, prompts, reward = Counting(8), ["abc"] * 10 + ["de"] * 10, lambda prompts: [0.0] * len(prompts)
    ids = PromptIds(PromptDataset.of(prompts), tokenizer, room=4)
    single = TextGenEnv(ids, reward, tokenizer, max_new_tokens=1)
    vector = TextGenVectorEnv(ids, reward, tokenizer, max_new_tokens=1, num_envs=4)
    play(single, 0)
    play(vector, np.zeros(4, dtype=int))
    assert tokenizer.n == 20
    assert single.task.length == vector.task.length == 3 + 1, "as wide as the longest prompt, not as the room"
    assert [ids[row].tolist() for row in (0, 19)] == [[1, 2, 3], [4, 5]] and len(ids) == 20


def test_ids_that_do_not_fit_or_are_of_another_tokenizer_are_named() -> None:
    dataset, tokenizer = PromptDataset.of(["ab", "abc"]), Counting(8)
    with pytest.raises(InputError, match="prompt 1: the prompt has 3 tokens, at most 2 fit"):
        PromptIds(dataset, tokenizer, room=2)
    ids = PromptIds(dataset, tokenizer)
    with pytest.raises(InputError, match="encoded by another tokenizer"):
        TextGenEnv(ids, lambda prompts: [0.0], Counting(8))
    with pytest.raises(InputError, match="max_prompt_tokens must be that of the PromptIds, 3, or None, got 5"):
        TextGenEnv(ids, lambda prompts: [0.0], tokenizer, max_prompt_tokens=5)


def test_without_a_limit_the_longest_of_all_prompts_decides() -> None:
    prompts = ["ab"] * SHORT
    prompts[7] = "z"  # fewer letters than all others, and more tokens
    assert PromptIds(PromptDataset.of(prompts), Counting(8), None).max_prompt_tokens == 3


def test_a_long_prompt_among_many_is_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("abc\n" * SHORT + "abcdef\n" + "abc\n" * SHORT)
    with pytest.raises(InputError, match=rf"p\.txt:{SHORT + 1}: the prompt has 6 tokens, at most 5 fit"):
        TextGenEnv(path, lambda prompts: [0.0], LetterTokenizer(8), max_prompt_tokens=5)


def test_a_short_text_of_many_tokens_is_named_when_drawn_and_by_a_full_check(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("ab\n" * SHORT + "z\n")
    env = TextGenEnv(path, lambda prompts: [0.0], Counting(8), max_prompt_tokens=2)
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
        TextGenEnv(["a"], lambda prompts: [0.0], LetterTokenizer(8), max_prompt_tokens=0)
