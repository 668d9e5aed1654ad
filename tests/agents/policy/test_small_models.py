"""The trained tokenizer: no text is lost, and prompt and completion ids are those of training."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from textrl_env.agents import train_tokenizer
from textrl_env.agents.offline.sft import encode_demonstrations
from textrl_env.data.text import encode_completion, encode_prompt
from textrl_env.worlds import support_desk

TEXTS = [
    "plain",
    "",
    " leading and trailing ",
    "two  spaces\n\nand lines\t",
    "naïve café",
    "日本語のテキスト",
    "🙂 👩‍👩‍👧",
    "\u202eright to left עברית",
    "don't , stop . now !",
    "\x00\x07 control",
    "a" * 300,
]


@pytest.fixture(scope="module")
def trained() -> Any:
    rows = support_desk.demonstrations(200, seed=0)
    return train_tokenizer((row["prompt"] + row["completion"] for row in rows), vocab_size=400)


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_comes_back(trained: Any, text: str) -> None:
    assert trained.decode(trained.encode(text, add_special_tokens=False), skip_special_tokens=True) == text
    assert trained.decode(encode_prompt(trained, text), skip_special_tokens=True) == text


def test_special_tokens_have_their_places(trained: Any) -> None:
    assert (trained.pad_token_id, trained.bos_token_id, trained.eos_token_id) == (0, 1, 2)
    assert len(trained) == 400
    ids = encode_prompt(trained, "Customer: hello")
    assert ids[0] == 1 and not {0, 1, 2} & set(ids[1:])
    completion = encode_completion(trained, " hello")
    assert completion[-1] == 2 and not {0, 1, 2} & set(completion[:-1])
    assert encode_completion(trained, " hello", end=False) == completion[:-1]


def test_common_words_are_single_tokens_and_bytes_are_the_least_vocabulary(trained: Any) -> None:
    assert len(encode_completion(trained, " customer", end=False)) < len(" customer")
    smallest = train_tokenizer(["aaaa"], vocab_size=259)
    assert len(smallest) == 259
    assert len(encode_completion(smallest, "aé", end=False)) == 3


def test_prompt_and_completion_ids_joined_are_what_is_trained_on(trained: Any) -> None:
    rows = support_desk.demonstrations(50, seed=1)
    encoded = [row.sequences[0] for row in encode_demonstrations(trained, rows, max_length=256)]
    for row, example in zip(rows, encoded, strict=True):
        prompt, completion = encode_prompt(trained, row["prompt"]), encode_completion(trained, row["completion"])
        assert example.ids == prompt + completion and example.prompt_length == len(prompt)
        assert trained.decode(example.ids, skip_special_tokens=True) == row["prompt"] + row["completion"]


def test_saved_and_loaded_it_is_the_same(trained: Any, tmp_path: Path) -> None:
    trained.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert len(loaded) == len(trained)
    assert (loaded.pad_token_id, loaded.bos_token_id, loaded.eos_token_id) == (0, 1, 2)
    for text in TEXTS:
        ids = encode_prompt(trained, text) + encode_completion(trained, text)
        assert encode_prompt(loaded, text) + encode_completion(loaded, text) == ids
        assert loaded.decode(ids, skip_special_tokens=True) == text + text
