"""Texts cut into prompt and completion."""

import pytest
from data.snippets import continuation_rows

from textrl_env.errors import InputError

TEXTS = ["one two three four five", "one two", "one two three", "one  two three four five six seven"]


def test_prompt_and_completion_are_the_text_again() -> None:
    rows = continuation_rows(TEXTS, n_words=2, min_words=1)
    assert [row["prompt"] + row["completion"] for row in rows] == [TEXTS[0], TEXTS[2], " ".join(TEXTS[3].split())]
    assert all(row["prompt"] == "one two" and row["completion"].startswith(" three") for row in rows)


def test_short_and_long_texts_are_left_out() -> None:
    rows = continuation_rows(TEXTS, n_words=2, min_words=3, max_words=4)
    assert [row["completion"] for row in rows] == [" three four five"]


def test_impossible_lengths_are_named() -> None:
    with pytest.raises(InputError, match="n_words must be at least 1, got 0"):
        continuation_rows(TEXTS, n_words=0)
