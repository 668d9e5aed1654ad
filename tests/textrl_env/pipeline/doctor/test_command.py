"""`textrl doctor`: what it prints and writes, and its exit codes."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from textrl_env.cli import main


def exit_code(*arguments: object) -> int:
    try:
        main(["doctor", *map(str, arguments)])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_failure_says_what_it_leads_to_and_what_to_do(folder: Any, capsys: pytest.CaptureFixture[str]) -> None:
    other = folder.causal("other", seed=1)
    options = ("--policy", folder.policy, "--reference", other, "--reward-model", folder.reward_model)
    report = folder.path / "found.json"
    limits = ("--prompts", folder.prompts, "--max-new-tokens", 8)
    assert exit_code(*options, *limits, "--json", report) == 1
    shown = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    (failure,) = [check for check in json.loads(report.read_text())["checks"] if check["outcome"] == "failed"]
    assert failure["name"] == "KL is 0 at the start" and not json.loads(report.read_text())["passed"]
    assert "FAIL" in shown and "leads to:" in shown and "to do:" in shown and "1 of 19 checks failed" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--run-dir none", "none/sft/config.json: not there yet; make it with: textrl sft --run-dir none"),
        ("--policy policy --reference none", "none/config.json: not there yet"),
        ("--policy policy --run-dir half", "half/reward_model/config.json: not there yet"),
        ("--policy policy --reward-model none", "none/config.json: not there yet"),
        ("--policy policy --prompts none.txt", "none.txt: no such file"),
        ("--policy policy --max-new-tokens 0", "max_new_tokens must be at least 1, got 0"),
        ("--policy policy --max-new-tokens 64", "no prompt fits with max_new_tokens 64: policy makes"),
        ("--policy without_tokenizer", "no prompt fits with max_new_tokens 49: without_tokenizer makes 0 to 0 tokens"),
        ("--policy bare", "bare: no policy can be read here, expected a folder with a model and its tokenizer"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    options: str, message: str, folder: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.path)
    Path("half/reward_model").mkdir(parents=True)
    for name in ("bare", "without_tokenizer"):
        Path(name).mkdir()
        shutil.copy("policy/config.json", name)
    Path("bare/config.json").write_text("{}")
    capsys.readouterr()
    assert exit_code(*options.split()) == 2
    shown = capsys.readouterr().err.splitlines()[-1]
    assert shown.startswith(f"textrl: {message}")
