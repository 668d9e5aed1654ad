"""`textrl ppo` in two processes: one run folder, one voice, one end."""

import contextlib
import io
import json
import os
import shutil
import signal
import warnings
from pathlib import Path
from typing import Any

import pytest

from textrl_env.agents.callbacks import TrackReward
from textrl_env.cli import main
from textrl_env.training.checkpoints.run_checkpoints import list_checkpoints

OPTIONS = "--n-updates 3 --n-prompts 40 --n-episodes 8 --batch-size 4 --save-every 1"


def textrl(command: str) -> tuple[int, str, str]:
    """The exit code of a command, and what it said on stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        try:
            main(command.split())
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue(), err.getvalue()


def prepared(run_dir: Path, folder: Path) -> Path:
    for name in ("sft", "reward_model"):
        shutil.copytree(run_dir / name, folder / name)
    return folder


def results(folder: Path) -> dict[str, Any]:
    newest = list_checkpoints(folder / "ppo" / "checkpoints")[0]
    lines = (folder / "ppo" / "progress.jsonl").read_text().splitlines()
    return {
        "files": {str(path.relative_to(newest)): path.read_bytes() for path in newest.rglob("*") if path.is_file()},
        "policy": (folder / "policy" / "model.safetensors").read_bytes(),
        "log": [{key: value for key, value in json.loads(line).items() if key != "time/fps"} for line in lines],
        "metrics": json.loads((folder / "ppo" / "metrics.json").read_text()),
    }


@pytest.mark.slow
def test_a_run_of_two_that_one_signal_stops_ends_as_one_left_alone(run_dir: Path, tmp_path: Path, both: Any) -> None:
    straight, stopped = (prepared(run_dir, tmp_path / name) for name in ("straight", "stopped"))
    one, other = both(lambda index: textrl(f"ppo --run-dir {straight} {OPTIONS}"))
    assert one[0] == other[0] == 0
    assert f"the policy is in {straight / 'policy'}" in one[1] and other[1] == ""
    expected = results(straight)
    assert [row["time/iterations"] for row in expected["log"]] == [1, 2, 3, 3]
    assert len(list((straight / "ppo").glob("events.*"))) == 1

    def signalled(index: int) -> tuple[int, str, str]:
        track = TrackReward._on_rollout_end

        def send(callback: TrackReward) -> None:
            track(callback)
            if index == 1 and callback.model.n_updates == 1:  # type: ignore[attr-defined]
                os.kill(os.getpid(), signal.SIGTERM)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TrackReward, "_on_rollout_end", send)
            return textrl(f"ppo --run-dir {stopped} {OPTIONS}")

    one, other = both(signalled)
    assert one[0] == other[0] == 143
    assert one[2].count("stopped after update 1; saved in") == 1 and "stopped" not in other[2]
    assert list_checkpoints(stopped / "ppo" / "checkpoints")[0].name == "update-000001-001"
    one, other = both(lambda index: textrl(f"ppo --run-dir {stopped} {OPTIONS} --resume auto"))
    assert one[0] == other[0] == 0
    assert results(stopped) == expected
    # Alone it does not go on: its share of the prompts would be another.
    code, _, said = textrl(f"ppo --run-dir {stopped} {OPTIONS} --resume auto")
    assert code == 2 and "is of a run of 2 processes, and this one has 1" in said


@pytest.mark.parametrize("command", ["evaluate", "ppo --dry-run"])
def test_other_commands_want_one_process(command: str, tmp_path: Path, both: Any) -> None:
    for code, out, err in both(lambda index: textrl(f"{command} --run-dir {tmp_path}")):
        assert code == 2 and out == ""
        assert "only `textrl ppo` and `textrl train` can use them" in err
