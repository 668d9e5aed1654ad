"""`textrl lint`: exit codes, JSON, the tokenizer's limit, and what stands on the terminal."""

import json
from pathlib import Path
from typing import Any

import pytest

from textrl_env.cli import main
from textrl_env.reward_models import write_preferences

ROWS = [
    {"prompt": f"Question {i}?", "chosen": f"answer {i} of many", "rejected": f"{i} other words here"}
    for i in range(40)
]


def lint(*arguments: object) -> int:
    """Its exit code."""
    try:
        main(["lint", *map(str, arguments)])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_preferences(tmp_path / "data.jsonl", ROWS)


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """A duplicate, which is a warning, and a bad row, which is an error."""
    return write_preferences(tmp_path / "faulty.jsonl", [*ROWS, ROWS[2], {"prompt": "p", "chosen": "a"}])


def test_exit_codes(data: Path, faulty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint(data) == 0 and "nothing found: bad rows" in capsys.readouterr().out
    assert lint(faulty) == 1
    duplicate = write_preferences(tmp_path / "duplicate.jsonl", [*ROWS, ROWS[2]])
    assert [lint(duplicate, "--fail-on", level) for level in ("notice", "warning", "error")] == [1, 1, 0]
    capsys.readouterr()
    assert lint(tmp_path / "missing.jsonl") == 2 and "no such file" in capsys.readouterr().err
    assert lint(data, "--by", "topic") == 2 and "no row has a column 'topic'" in capsys.readouterr().err
    assert lint(data, "--similar", "1.5") == 2 and "similar must be in (0, 1]" in capsys.readouterr().err
    assert lint(data, "--tokenizer", tmp_path, "--max-tokens", "0") == 2
    assert "max_tokens must be at least 1" in capsys.readouterr().err
    assert lint(data, "--max-tokens", "9") == 2 and "--tokenizer" in capsys.readouterr().err


def test_the_table_says_what_where_and_what_to_do(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint(faulty) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "41 rows, 41 pairs, 40 prompts" in shown
    assert "bad rows: 1 of 42 rows cannot be used" in shown and "faulty.jsonl:42: no column 'rejected'" in shown
    assert "duplicates: 1 of 41 rows repeat another" in shown and "faulty.jsonl:3, faulty.jsonl:41" in shown
    assert "to do: keep one of each" in shown and "not looked at: position bias (no column 'shown'" in shown


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"prompt": "p", "chosen": "\x1b[31mred [bold]", "rejected": "x"}
    assert lint(write_preferences(tmp_path / "data.jsonl", [row, row])) == 1
    shown = capsys.readouterr().out
    assert "\x1b[31m" not in shown and "[bold]" in shown


def test_json_to_a_file_and_to_the_terminal(faulty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint(faulty, "--json", tmp_path / "lint.json", "--examples", 1) == 1
    capsys.readouterr()
    assert lint(faulty, "--json", "-", "--examples", 1) == 1
    found = json.loads((tmp_path / "lint.json").read_text())
    assert json.loads(capsys.readouterr().out) == found
    assert not found["passed"] and [each["check"] for each in found["findings"]][:2] == ["bad rows", "duplicates"]
    assert found["findings"][1]["examples"][0]["where"] == [f"{faulty}:3", f"{faulty}:41"]
    assert {"length bias", "position bias"} <= {each["check"] for each in found["findings"]} | set(found["skipped"])


def test_a_tokenizer_says_which_rows_are_too_long(
    data: Path, tmp_path: Path, make_model: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from textrl_env.agents import train_tokenizer

    tokenizer = train_tokenizer(["ab"], vocab_size=259)
    tokenizer.save_pretrained(tmp_path / "model")
    # A token a byte: "Question 10?" has 12, "10 other words here" 19, the first and the last are one each.
    assert lint(data, "--tokenizer", tmp_path / "model") == 2 and "give max_tokens" in capsys.readouterr().err
    assert lint(data, "--tokenizer", tmp_path / "model", "--max-tokens", 33) == 0
    assert lint(data, "--tokenizer", tmp_path / "model", "--max-tokens", 32) == 1
    make_model("llama", vocab_size=len(tokenizer)).config.save_pretrained(tmp_path / "model")
    capsys.readouterr()
    assert lint(data, "--tokenizer", tmp_path / "model") == 0
    long = write_preferences(tmp_path / "long.jsonl", [{"prompt": "p" * 59, "chosen": "abcd", "rejected": "x"}])
    assert lint(long, "--tokenizer", tmp_path / "model") == 1
    assert "exceed 64 tokens (the longest has 65)" in capsys.readouterr().out
