"""Held-out rows: no prompt is on both sides, the same rows of a file each time, and what is shared is said."""

import warnings
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from textrl_env import InputError
from textrl_env.data import split_rows, warn_of_shared_prompts

messages = st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": st.sampled_from("abc")}), min_size=1)
prompts_of_rows = st.lists(st.sampled_from("abcdefgh") | messages, min_size=2, max_size=40)


@settings(deadline=None)
@given(prompts=prompts_of_rows, fraction=st.floats(0.01, 0.99))
def test_no_prompt_is_on_both_sides_and_every_row_on_one(prompts: list[Any], fraction: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train, heldout = split_rows(prompts, [["x", "y"]] * len(prompts), fraction, source="f")
    assert sorted(train + heldout) == list(range(len(prompts))) and train and heldout
    assert (train, heldout) == (sorted(train), sorted(heldout))
    if len(set(map(repr, prompts))) > 1:
        assert not {repr(prompts[row]) for row in train} & {repr(prompts[row]) for row in heldout}


def test_the_end_of_a_file_is_not_what_is_held_out() -> None:
    prompts = [f"p{row}" for row in range(200)]
    train, heldout = split_rows(prompts, [["x"]] * 200, 0.1, source="f")
    assert len(heldout) == 20 and min(heldout) < 100 < max(train)
    assert split_rows(prompts, [["x"]] * 200, 0.1, source="f") == (train, heldout)


def test_whole_dialogues_are_split_by_the_beginning_of_their_two_answers() -> None:
    texts = [[f"\n\nHuman: q{row // 5}\n\nAssistant: {end}{row}" for end in "ab"] for row in range(50)]
    train, heldout = split_rows([""] * 50, texts, 0.2, source="f")
    assert len(heldout) == 10 and not {row // 5 for row in train} & {row // 5 for row in heldout}


def test_rows_of_one_prompt_are_dealt_out_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="f: all rows have one prompt"):
        train, heldout = split_rows(["p"] * 10, [["x"]] * 10, 0.2, source="f")
    assert (len(train), len(heldout)) == (8, 2)
    with pytest.raises(InputError, match="f: two rows or more are needed to hold some out, found 1"):
        split_rows(["p"], [["x"]], 0.1, source="f")


def test_shared_prompts_are_counted() -> None:
    with pytest.warns(UserWarning, match=r"h\.jsonl: 1 of its 2 prompts are trained on as well"):
        warn_of_shared_prompts(["a", "b", ""], ["b", "b", "c", ""], source="h.jsonl")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_shared_prompts(["a", ""], ["b", ""], source="h.jsonl")
