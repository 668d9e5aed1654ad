"""`--dry-run` leaves the run's folder alone, and its memory estimate is near what is measured."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from textrl_env.cli import main
from textrl_env.cli.memory import Footprint, estimate

# A model of 4 million parameters, so that what is estimated stands out from what Python takes.
MEASURE = """
import re, sys, torch
from textrl_env.agents import SFTConfig, small_llama, train_sft, train_tokenizer
torch.set_num_threads(1)
tokenizer = train_tokenizer(["a"], vocab_size=300)
tokenizer.save_pretrained(sys.argv[1])
rows = [{"prompt": "x", "completion": "y" * 125}] * 32
def peak():
    # Not ru_maxrss, which a process inherits from the one that started it.
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
train_sft(small_llama(tokenizer, hidden_size=16), tokenizer, rows, SFTConfig(n_steps=1, batch_size=1))
before = peak()
model = small_llama(tokenizer, hidden_size=320, layers=4)
train_sft(model, tokenizer, rows, SFTConfig(n_steps=2, batch_size=16))
model.save_pretrained(sys.argv[1])
print("MEASURED", peak() - before)
"""


def test_the_estimate_is_near_the_measured_memory(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True)
    measured = float(done.stdout.split("MEASURED")[1])
    # 16 rows of a start token, a prompt of 1, a completion of 125 and an end token.
    parts = estimate(Footprint(trained=[tmp_path], training_tokens=16 * 128))
    assert 0.6 * measured < sum(parts.values()) < 1.7 * measured, (measured, parts)
    assert parts["optimizer"] == 2 * parts["weights"] == 2 * parts["gradients"]
    frozen = estimate(Footprint(frozen=[tmp_path, tmp_path], cached_tokens=1000))
    assert frozen["weights"] == 2 * parts["weights"] and frozen["gradients"] == frozen["activations"] == 0
    # Keys and values of 320 numbers in 4 layers.
    assert frozen["caches"] == 1000 * 4 * 2 * 320 * 4


@pytest.mark.parametrize("command", ["sft", "preferences", "reward-model", "dpo", "ppo --batch-size 4"])
def test_a_dry_run_works_estimates_and_writes_nothing(
    command: str, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}
    main([*command.split(), "--run-dir", str(run_dir), "--dry-run"])
    shown = capsys.readouterr().out
    assert re.search(r"one tiny iteration works \(\d+\.\d s\); the run.s folder was only read", shown)
    assert re.search(r"memory: about [\d.]+ [MG]B .*\(weights ", shown)
    assert re.search(r"time: about [\d.]+ (s|min|h) ", shown)
    assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")} == before


def test_a_dry_run_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, message in (("ppo", "not there yet; make it with: textrl sft"), ("evaluate", "has no dry run")):
        with pytest.raises(SystemExit) as end:
            main([command, "--run-dir", str(tmp_path), "--dry-run"])
        assert end.value.code == 2 and message in capsys.readouterr().err
