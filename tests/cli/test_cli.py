"""The `textrl` command: quick help, helpful errors, Ctrl-C."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from textrl_env.cli import main

PPO = "ppo --n-updates 100000 --n-prompts 40 --n-episodes 8 --batch-size 4"
SFT = "sft --n-steps 100000 --n-demonstrations 100"
COMMANDS = [
    "quickstart",
    "sft",
    "preferences",
    "reward-model",
    "ppo",
    "train",
    "dpo",
    "evaluate",
    "doctor",
    "report",
    "report rm",
    "raters",
    "chat",
    "generate",
    "label",
    "export-labels",
    "import-labels",
    "ai-feedback",
    "revise",
    "lint",
    "slices",
    "balance",
]
SCREEN = 50
HELP = """
import contextlib, io, json, sys
from textrl_env.cli import main
for command in json.loads(sys.argv[1]):
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(out):
        try:
            main([*command.split(), "--help"])
        except SystemExit as end:
            assert end.code == 0, end.code
    heavy = sorted({"torch", "transformers", "stable_baselines3"} & set(sys.modules))
    out.flush()
    text = out.buffer.getvalue().decode("utf-8")
    print(json.dumps({"command": command, "text": text, "n_modules": len(sys.modules), "heavy": heavy}))
"""


@pytest.fixture(scope="module")
def helps() -> dict[str, dict[str, Any]]:
    """What a fresh interpreter shows for --help of every command, and which modules it has loaded by then."""
    done = subprocess.run(
        [sys.executable, "-c", HELP, json.dumps(["", *COMMANDS])],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"COLUMNS": "80"},
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["command"]: row for row in rows}


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_quick_and_loads_no_torch(command: str, helps: dict[str, dict[str, Any]]) -> None:
    shown, n_modules, heavy = (helps[command][name] for name in ("text", "n_modules", "heavy"))
    assert not heavy
    # With torch there would be two thousand; the number is the same on every machine, as seconds are not.
    assert n_modules < 900
    assert "usage: textrl" in shown
    assert not command or any(name in shown for name in ("--run-dir", "--out", "--database", "--against", "--limit"))
    assert command or all(name.split()[0] in shown for name in COMMANDS)
    assert len(shown.splitlines()) <= SCREEN, "help that does not fit on a screen"


@pytest.mark.parametrize(
    ("command", "maker"),
    [
        ("preferences", "sft"),
        ("reward-model", "preferences"),
        ("ppo", "sft"),
        ("train", "sft"),
        ("dpo", "preferences"),
        ("evaluate", "ppo"),
        ("report", "evaluate"),
    ],
)
def test_a_missing_file_names_the_command_that_makes_it(
    command: str, maker: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    none = tmp_path / "none"
    with pytest.raises(SystemExit) as end:
        main([command, "--run-dir", str(none)])
    message = capsys.readouterr().err
    assert end.value.code == 2
    assert message.startswith(f"textrl: {none}") and message.endswith(
        f"make it with: textrl {maker} --run-dir {none}\n"
    )
    assert message.count("\n") == 1


@pytest.mark.parametrize("command", ["preferences", "ppo", "evaluate"])
def test_a_folder_that_an_interrupted_stage_left_is_no_model(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("sft", "policy", "reward_model"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "progress.jsonl").touch()
    with pytest.raises(SystemExit) as end:
        main([command, "--run-dir", str(tmp_path)])
    assert end.value.code == 2 and "not there yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("sft --demonstrations none.jsonl", "none.jsonl: no such file"),
        ("sft --model none", "none/config.json: not there yet"),
        ("reward-model --preferences none.jsonl", "none.jsonl: no such file"),
        ("reward-model --preferences one.jsonl", "one.jsonl: two rows or more are needed to hold some out, found 1"),
        ("reward-model --preferences same.jsonl", "same.jsonl:1: 'chosen' and 'rejected' are the same text: 'a'; mend"),
        ("reward-model --preferences .", "preferences: .: is a folder, expected a file"),
        ("preferences --k 1", "k must be at least 2, got 1"),
        ("preferences --n-prompts 0", "n_prompts must be at least 1, got 0"),
        ("sft --n-steps 0", "n_steps must be at least 1, got 0"),
        ("sft --learning-rate -1", "learning_rate must be above 0, got -1"),
        ("sft --n-demonstrations 9 --hidden-size 97", "hidden_size must be a multiple of 8 (2 x 4 heads), got 97"),
        ("sft --n-demonstrations 9 --layers 0", "layers must be at least 1, got 0"),
        ("sft --n-demonstrations 9 --context 0", "context must be at least 1, got 0"),
        ("sft --n-demonstrations 9 --vocab-size 10", "vocab_size must be at least 259"),
        ("sft --run-dir one.jsonl", "run_dir: one.jsonl: is a file, expected a folder"),
        ("ppo --kl-coef -1", "kl_coef must be at least 0, got -1"),
        ("dpo --beta 0", "beta must be above 0, got 0"),
        ("dpo --label-smoothing 0.5", "label_smoothing must be in [0, 0.5), got 0.5"),
        ("dpo --preferences one.jsonl", "one.jsonl: two rows or more are needed to hold some out, found 1"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.jsonl").write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n')
    (tmp_path / "same.jsonl").write_text('{"prompt": "p", "chosen": "a", "rejected": "a"}\n')
    with pytest.raises(SystemExit) as end:
        main(arguments.split())
    assert end.value.code == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"textrl: {message}") and shown.count("\n") == 1


def test_what_does_not_fit_the_context_is_named_before_anything_is_loaded(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "long.txt").write_text("short\n" + "long " * 300 + "\n")
    for command in ("ppo", "evaluate"):
        for arguments, message in (
            ("--max-new-tokens 500", "max_new_tokens 500 leaves no room for a prompt: the context of .* is 256 tokens"),
            (f"--prompts {tmp_path / 'long.txt'}", r"long.txt:2: the prompt has \d+ tokens, at most 207 fit"),
        ):
            with pytest.raises(SystemExit) as end:
                main([command, "--run-dir", str(run_dir), *arguments.split()])
            assert end.value.code == 2 and re.search(message, capsys.readouterr().err)
    rows = {
        "sft": {"prompt": "p", "completion": "c " * 300},
        "reward-model": {"prompt": "p", "chosen": "a", "rejected": "c " * 300},
    }
    for (command, row), option in zip(rows.items(), ("demonstrations", "preferences"), strict=True):
        path = tmp_path / f"{command}.jsonl"
        path.write_text('{"prompt": "q", "completion": "a", "chosen": "a", "rejected": "b"}\n' + json.dumps(row) + "\n")
        with pytest.raises(SystemExit):
            main([command, "--run-dir", str(tmp_path), f"--{option}", str(path), "--model", str(run_dir / "sft")])
        assert f"{path}:2: " in capsys.readouterr().err


# As a user's Python shows warnings; the suite makes errors of them.
@pytest.mark.filterwarnings("default::UserWarning")
def test_own_data_goes_all_the_way_to_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"prompt": f"Question {n}:", "completion": f" {n} it is", "chosen": f" {n}", "rejected": " no"}
        for n in range(12)
    ]
    data, run = tmp_path / "rows.jsonl", tmp_path / "run"
    # A byte order mark, as some editors write it, and a row to leave out.
    data.write_text("\ufeff" + "".join(json.dumps(row) + "\n" for row in rows) + "{}\n", encoding="utf-8")
    stages = {
        "sft --demonstrations": "--n-steps 3 --hidden-size 16 --vocab-size 300",
        "reward-model --preferences": "--n-epochs 1",
        "ppo --prompts": "--n-updates 1 --n-episodes 4 --batch-size 4 --max-new-tokens 5",
        "evaluate --prompts": "--max-new-tokens 5",
    }
    for command, options in stages.items():
        main([*command.split(), str(data), "--on-bad-row", "skip", "--run-dir", str(run), *options.split()])
        shown = capsys.readouterr()
        assert "next: textrl " in shown.out and str(run) in shown.out
        assert f"textrl: {data}: skipped 1 bad rows of 13; first: {data}:13" in shown.err
    main(["report", "--run-dir", str(run)])
    assert str(run / "report.html") in capsys.readouterr().out
    summary = json.loads((run / "summary.json").read_text())
    assert {"proxy_win_rate", "rm_accuracy", "sft_heldout_loss", "seconds_ppo", "kl"} <= summary.keys()
    assert "gold_win_rate" not in summary and "rm_ceiling" not in summary
    assert "support desk" not in (run / "report.html").read_text(encoding="utf-8").lower()


@pytest.mark.parametrize(
    ("command", "message", "number", "code"),
    [
        (PPO, "textrl: stopped after update", signal.SIGTERM, 143),
        (SFT, "textrl: stopped before the end of supervised fine-tuning", signal.SIGINT, 130),
    ],
)
def test_a_signal_leaves_a_model_and_says_so_by_the_exit_code(
    command: str, message: str, number: int, code: int, run_dir: Path, tmp_path: Path
) -> None:
    """Both signals to both, within this process, are in test_resume and test_row_resume."""
    stage = command.split()[0]
    if stage == "ppo":
        for name in ("sft", "reward_model"):
            shutil.copytree(run_dir / name, tmp_path / name)
    (tmp_path / stage).mkdir(exist_ok=True)
    (tmp_path / stage / "metrics.json").write_text("{}")
    errors = interrupted(command, tmp_path, log := tmp_path / stage / "progress.jsonl", number, code)
    assert "Traceback" not in errors and message in errors
    assert len(log.read_text().splitlines()) >= 1
    AutoModelForCausalLM.from_pretrained(tmp_path / ("policy" if stage == "ppo" else "sft"))
    assert stage == "sft" or list((tmp_path / "ppo" / "checkpoints").glob("update-*/manifest.json"))
    # What was stopped is not described as finished.
    assert not (tmp_path / stage / "metrics.json").exists()


def interrupted(command: str, run_dir: Path, log: Path, number: int, code: int) -> str:
    """What a command says after a signal that comes once its log has a row; it ends with the code within 30 s."""
    started = "import torch; torch.set_num_threads(1); from textrl_env.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", started, *command.split(), "--run-dir", str(run_dir)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not (log.is_file() and log.read_text().count("\n")) and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == code
    return errors
