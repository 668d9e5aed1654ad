"""Items from completions, and files of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.store import Item, make_items, read_items


def test_questions_that_completions_make() -> None:
    texts = ["a", "b", "a", "c"]
    assert [item.completions for item in make_items("pair", "p", texts)] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert make_items("ranking", "p", texts) == [Item("ranking", "p", ("a", "b", "c"))]
    assert [item.completions for item in make_items("rating", "p", texts)] == [("a",), ("b",), ("c",)]
    assert make_items("pair", "p", ["a", "a"]) == make_items("ranking", "p", ["a"]) == []
    assert len(make_items("ranking", "p", list("abcdefghijkl"))[0].completions) == 9


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_the_three_forms_of_a_row(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "hi"}]
    path = write(
        tmp_path / "c.jsonl",
        {"prompt": "p", "completions": ["a", ""]},
        {"prompt": "q", "completion": "x"},
        {"prompt": chat, "chosen": [{"role": "assistant", "content": "good"}], "rejected": "bad"},
        {"prompt": "q", "completion": "y"},
    )
    assert read_items(path, "pair") == [
        Item("pair", "p", ("a", "")),
        Item("pair", "q", ("x", "y")),
        Item("pair", chat, ("good", "bad")),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "not JSON"),
        ({"completions": ["a", "b"]}, "no column 'prompt'"),
        ({"prompt": 3, "completions": ["a", "b"]}, "column 'prompt' must be text, got int"),
        ({"prompt": "p"}, "no column 'completions', 'completion' or 'chosen'"),
        ({"prompt": "p", "completions": "ab"}, "column 'completions' must be a list of texts, got str"),
        ({"prompt": "p", "completions": ["a", 3]}, "completion 2 must be text, got int"),
        ({"prompt": "p", "completions": ["a", [{"role": "user"}]]}, "completion 2 must hold messages"),
        ({"prompt": "p", "completion": None}, "completion 1 must be text, got null"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: Any, message: str) -> None:
    path = write(tmp_path / "c.jsonl", {"prompt": "p", "completions": ["a", "b"]}, row)
    with pytest.raises(InputError, match=r"c\.jsonl:2: ") as error:
        read_items(path, "pair")
    assert message in str(error.value)
    with pytest.warns(UserWarning, match="skipped 1 bad rows of 2"):
        assert len(read_items(path, "pair", on_bad_row="skip")) == 1


def test_a_file_that_makes_no_question_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no prompt has two different completions"):
        read_items(write(tmp_path / "c.jsonl", {"prompt": "p", "completions": ["a", "a"]}), "pair")
