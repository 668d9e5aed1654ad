"""The `textrl` command: quick help, helpful errors, Ctrl-C."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from textrl_env.cli import main

COMMANDS = ["quickstart", "sft", "preferences", "reward-model", "ppo", "evaluate", "report"]
HELP = """
import sys, time
from textrl_env.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert end.code == 0, end.code
print("MEASURED", time.process_time(), *sorted({"torch", "transformers", "stable_baselines3"} & set(sys.modules)))
"""


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=["textrl", *COMMANDS])
def test_help_is_quick_and_loads_no_torch(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", HELP, *command, "--help"], capture_output=True, text=True, check=True)
    shown, _, measured = done.stdout.partition("MEASURED")
    seconds, *loaded = measured.split()
    assert not loaded
    assert float(seconds) < 1.0
    assert "usage: textrl" in shown
    assert not command or "--run-dir" in shown or "--out" in shown
    assert command or all(name in shown for name in COMMANDS)


@pytest.mark.parametrize(
    ("command", "maker"),
    [
        ("preferences", "textrl sft"),
        ("reward-model", "textrl preferences"),
        ("ppo", "textrl sft"),
        ("evaluate", "textrl ppo"),
        ("report", "textrl quickstart"),
    ],
)
def test_a_missing_file_names_the_command_that_makes_it(
    command: str, maker: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--run-dir", str(tmp_path / "none")])
    message = capsys.readouterr().err
    assert end.value.code == 2
    assert message.startswith(f"textrl: {tmp_path}") and message.endswith(f"make it with: {maker}\n")
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
        ("reward-model --preferences one.jsonl", "one.jsonl: two preferences or more are needed, found 1"),
        ("preferences --k 1", "k must be at least 2, got 1"),
        ("sft --training.n-steps 0", "n_steps"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.jsonl").write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n')
    with pytest.raises(SystemExit) as end:
        main([*arguments.split(), "--run-dir", "run"])
    assert end.value.code == 2
    shown = capsys.readouterr()
    assert message in shown.err + shown.out and "Traceback" not in shown.err


def test_ctrl_c_during_ppo_leaves_a_policy_and_exits_130(run_dir: Path, tmp_path: Path) -> None:
    for name in ("sft", "reward_model"):
        shutil.copytree(run_dir / name, tmp_path / name)
    options = {"n-updates": 100_000, "n-prompts": 40, "n-episodes": 8, "batch-size": 4}
    command = ["ppo", *(f"--{name}={value}" for name, value in options.items())]
    started = "import torch; torch.set_num_threads(1); from textrl_env.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", started, *command, "--run-dir", str(tmp_path)], stderr=subprocess.PIPE, text=True
    )
    log = tmp_path / "ppo" / "progress.jsonl"
    try:
        deadline = time.monotonic() + 120
        while not (log.is_file() and log.read_text().count("\n")) and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in errors and "textrl: stopped after update" in errors
    assert json.loads(log.read_text().splitlines()[0])["time/iterations"] == 1
    AutoModelForCausalLM.from_pretrained(tmp_path / "policy")
    assert (tmp_path / "ppo" / "checkpoint" / "manifest.json").is_file()
