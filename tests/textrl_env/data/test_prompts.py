"""Prompts and rows from files of unknown origin: every fault is named with its place and a way out."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from textrl_env import InputError, PromptDataset, TextGenEnv
from textrl_env.data import read_rows
from textrl_env.worlds import LetterTokenizer


def write(folder: Path, name: str, data: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("p.jsonl", '{"prompt": "ab", "answer": "c"}\n\n{"prompt": "dé", "answer": "f"}\n'),
        ("p.jsonl", '{"prompt": "ab", "answer": "c"}\r\n{"prompt": "dé", "answer": "f"}'),
        ("p.JSONL", '{"prompt": "ab", "answer": "c"}\n{"answer": "f", "prompt": "d\\u00e9"}\n'),
        ("p.json", '[{"prompt": "ab", "answer": "c"}, {"prompt": "dé", "answer": "f"}]'),
        ("p.jsonl", b"\xef\xbb\xbf" + '{"prompt": "ab", "answer": "c"}\n{"prompt": "dé", "answer": "f"}\n'.encode()),
        ("p.csv", "prompt,answer\nab,c\ndé,f\n"),
        ("p.csv", b"\xef\xbb\xbf" + 'answer,prompt\r\nc,"ab"\r\nf,dé\r\n'.encode()),
    ],
)
def test_formats(tmp_path: Path, name: str, data: str | bytes) -> None:
    dataset = PromptDataset.of(str(write(tmp_path, name, data)))
    assert dataset.prompts == ("ab", "dé")
    assert dataset.columns_of([1, 0]) == {"answer": ["f", "c"]}
    assert all(where.startswith(str(tmp_path / name)) for where in dataset.where)


def test_text_files_have_one_prompt_a_line(tmp_path: Path) -> None:
    dataset = PromptDataset.of(write(tmp_path, "p.txt", "ab\r\n\nnot UTF-8 is bad \n"))
    assert dataset.prompts == ("ab", "not UTF-8 is bad")
    assert dataset.where == (f"{tmp_path / 'p.txt'}:1", f"{tmp_path / 'p.txt'}:3")


GOOD = '{"prompt": "ab"}\n'


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (
            "p.jsonl",
            GOOD + '{"question": "a", "answer": "b"}\n',
            r"p\.jsonl:2: no column 'prompt' \(found: 'question', 'answer'\)",
        ),
        ("p.jsonl", GOOD + "\n{}\n", r"p\.jsonl:3: no column 'prompt' \(found: none\)"),
        ("p.jsonl", GOOD + '{"prompt": null}\n', r"p\.jsonl:2: column 'prompt' must be text, got null"),
        ("p.jsonl", GOOD + '{"prompt": 3}\n', r"p\.jsonl:2: column 'prompt' must be text, got int"),
        (
            "p.jsonl",
            GOOD + '{"prompt": ["a"]}\n',
            r"p\.jsonl:2: column 'prompt' must hold messages, .*message 1 is str",
        ),
        ("p.jsonl", GOOD + '{"prompt": "  "}\n', r"p\.jsonl:2: column 'prompt' is empty"),
        ("p.jsonl", GOOD + '"ab"\n', r"p\.jsonl:2: expected an object with columns 'prompt', got str"),
        ("p.jsonl", GOOD + "null\n", r"p\.jsonl:2: expected an object.*got NoneType"),
        ("p.jsonl", GOOD + '{"prompt": "ab"\n', r"p\.jsonl:2: not JSON: .* column 16"),
        ("p.jsonl", GOOD + "prompt\n", r"p\.jsonl:2: not JSON: .* column 1"),
        ("p.jsonl", GOOD + "not UTF-8 here\n", r"p\.jsonl:2: not JSON"),
        ("p.jsonl", GOOD.encode() + b'{"prompt": "\xff"}\n', r"p\.jsonl:2: not UTF-8 at byte 12 .*0xff"),
        ("p.jsonl", GOOD + "[" * 100_000 + "\n", r"p\.jsonl:2: .*(deep|JSON)"),
        ("p.jsonl", GOOD + '{"prompt": "a", "n": ' + "1" * 5000 + "}\n", r"p\.jsonl:2: "),
        ("p.jsonl", GOOD + '{"prompt": "a\\ud800"}\n', r"p\.jsonl:2: .*surrogate"),
        ("p.csv", "prompt,answer\nab,c\nab,c,d\n", r"p\.csv:3: 1 more fields than the header has"),
        ("p.csv", "prompt,answer\nab,c\nab\n", r"p\.csv:3: fewer fields than the header has"),
        ("p.csv", "prompt,answer\nab,c\n,d\n", r"p\.csv:3: column 'prompt' is empty"),
        ("p.csv", "question\nab\n", r"p\.csv:2: no column 'prompt' \(found: 'question'\)"),
        ("p.json", '[{"prompt": "ab"}, {"prompt": ""}]', r"p\.json: item 2: column 'prompt' is empty"),
        ("p.txt", b"ab\n\xff\xfe\n", r"p\.txt:2: not UTF-8 at byte 0"),
    ],
)
def test_a_bad_row_is_named_with_its_place_and_can_be_skipped(
    tmp_path: Path, name: str, data: str | bytes, message: str
) -> None:
    path = write(tmp_path, name, data)
    with pytest.raises(
        InputError,
        match=message + r".*; mend the row(, or leave bad rows out \(on_bad_row=\"skip\"\)| \(there is no other row\))",
    ):
        PromptDataset.of(path)
    if name == "p.csv" and "question" in str(data):
        with pytest.raises(InputError, match=message + ".*there is no other row"):
            PromptDataset.from_file(path, on_bad_row="skip")
        return
    with pytest.warns(UserWarning, match="skipped 1 bad rows of 2; first: .*" + message):
        dataset = PromptDataset.from_file(path, on_bad_row="skip")
    assert dataset.prompts == ("ab",)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("none.jsonl", None, "none.jsonl: no such file"),
        ("", None, "is a folder, expected a file"),
        ("p.jsonl", "", "p.jsonl: no usable row; expected columns 'prompt'"),
        ("p.jsonl", "\n \n", "no usable row"),
        ("p.csv", "", "no usable row"),
        ("p.csv", b"prompt\n\xff\n", r"p\.csv:2: column 'prompt': not UTF-8 at byte 0 .*in Windows-1252 that is 'ÿ'"),
        ("p.csv", 'prompt\n"a"b\n', r"p\.csv:2: not readable as CSV: ',' expected"),
        ("p.json", '{"prompt": "ab"}', "expected a list of objects"),
        ("p.json", "[1", "expected a list of objects, got not JSON"),
        ("p.xlsx", "PK", r"unknown format '\.xlsx'; expected \.jsonl"),
        ("p.parquet", "PAR1", "not readable as Parquet"),
        ("p.parquet", "", "not readable as Parquet"),
    ],
)
def test_an_unusable_file_is_named(tmp_path: Path, name: str, data: str | bytes | None, message: str) -> None:
    path = tmp_path / name if data is None else write(tmp_path, name, data)
    for on_bad_row in ("error", "skip"):
        with pytest.raises(InputError, match=message) as caught:
            PromptDataset.from_file(path, on_bad_row=on_bad_row)  # type: ignore[arg-type]
        assert name in str(caught.value)


def test_skipping_counts_and_good_files_do_not_warn(tmp_path: Path) -> None:
    rows = [json.dumps({"prompt": "a" if index % 3 else ""}) for index in range(9)]
    with pytest.warns(UserWarning, match=r"skipped 3 bad rows of 9; first: .*p\.jsonl:1"):
        assert len(PromptDataset.from_file(write(tmp_path, "p.jsonl", "\n".join(rows)), on_bad_row="skip")) == 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PromptDataset.from_file(write(tmp_path, "p.jsonl", GOOD), on_bad_row="skip")


def test_optional_columns_are_text_where_present(tmp_path: Path) -> None:
    path = write(tmp_path, "r.jsonl", '{"a": "x", "b": ""}\n{"a": "y"}\n')
    assert [row.values for row in read_rows(path, text_columns=["a"], optional=["b"])] == [
        {"a": "x", "b": ""},
        {"a": "y"},
    ]
    path = write(tmp_path, "r.jsonl", '{"a": "x", "b": null}\n')
    assert len(read_rows(path, text_columns=["a"], optional=["b"])) == 1
    path = write(tmp_path, "r.jsonl", '{"a": "x", "b": 3}\n')
    with pytest.raises(InputError, match=r"r\.jsonl:1: column 'b' must be text, got int"):
        read_rows(path, text_columns=["a"], optional=["b"])


def test_another_column_may_hold_the_prompt(tmp_path: Path) -> None:
    path = write(tmp_path, "p.jsonl", '{"question": "ab", "prompt": 3}\n')
    dataset = PromptDataset.of(path, prompt_column="question")
    assert (dataset.prompts, dataset.columns) == (("ab",), {"prompt": [3]})


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "no usable row; expected columns 'prompt'"),
        (["ab", ""], "prompt 1: column 'prompt' is empty"),
        (["ab", None], "prompt 1: column 'prompt' must be text, got null"),
        ([{"prompt": "ab"}, {"question": "c"}], r"prompt 1: no column 'prompt' \(found: 'question'\)"),
        ([{"prompt": None}], "prompt 0: column 'prompt' must be text, got null"),
        (["a\ud800"], "prompt 0: .*half a surrogate pair"),
        ({"train": ["a"], "test": ["b"]}, "must be rows, got a dict of 'train', 'test'; pass one of its values"),
        (["ab", "abcdef"], "prompt 1: the prompt has 6 tokens, at most 4 fit .max_prompt_tokens.; shorten"),
    ],
)
def test_bad_prompts_in_memory_are_named(prompts: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TextGenEnv(prompts, lambda prompts: [0.0], LetterTokenizer(8), max_prompt_tokens=4)


def test_a_prompt_too_long_is_named_by_its_row_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "p.jsonl", GOOD + "\n" + '{"prompt": "abcdef"}\n')
    with pytest.raises(InputError, match=r"p\.jsonl:3: the prompt has 6 tokens, at most 4 fit"):
        TextGenEnv(path, lambda prompts: [0.0], LetterTokenizer(8), max_prompt_tokens=4)


def test_a_prompt_of_no_tokens_is_named() -> None:
    class Silent(LetterTokenizer):
        def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
            return [] if text == "!" else super().encode(text)

    with pytest.raises(InputError, match="prompt 1: the tokenizer makes no token"):
        TextGenEnv(["a", "!"], lambda prompts: [0.0], Silent(8))
