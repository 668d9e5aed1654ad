"""`textrl sft --resume` and `textrl dpo --resume`: stopped by a signal, they end as the run that was left alone."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from textrl_env.cli import main
from textrl_env.training import SupervisedTraining
from textrl_env.training.checkpoints.run_checkpoints import list_checkpoints
from textrl_env.worlds import support_desk

SFT = "--demonstrations rows.jsonl --n-steps 6 --hidden-size 32 --vocab-size 300"
DPO = "--n-steps 6 --batch-size 4"


@pytest.fixture(autouse=True)
def demonstrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that SFT names: of few rows few are held out, and evaluated at every step."""
    monkeypatch.chdir(tmp_path)
    rows = support_desk.demonstrations(60, seed=0)
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def textrl(folder: Path, command: str, options: str) -> int:
    """The exit code of a stage."""
    try:
        main([command, "--run-dir", str(folder), "--save-every", "2", *options.split()])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def left(folder: Path, command: str) -> dict[str, bytes]:
    """The model, the newest checkpoint, the log and the metrics."""
    stage = folder / command
    newest = list_checkpoints(stage / "checkpoints")[0]
    model = stage / ("policy" if command == "dpo" else "") / "model.safetensors"
    files = [
        *newest.rglob("*.*"),
        model,
        *(stage / name for name in ("progress.jsonl", "progress.csv", "metrics.json")),
    ]
    return {str(path.relative_to(stage)): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("command", "options", "number", "code"),
    [("sft", SFT, signal.SIGTERM, 143), ("sft", SFT, signal.SIGINT, 130), ("dpo", DPO, signal.SIGINT, 130)],
)
def test_a_signal_saves_and_resume_auto_ends_as_if_there_had_been_none(
    command: str,
    options: str,
    number: int,
    code: int,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folders = tmp_path / "straight", tmp_path / "stopped"
    for folder in folders if command == "dpo" else ():
        for name in ("sft", "preferences"):
            shutil.copytree(request.getfixturevalue("run_dir") / name, folder / name)
    straight, stopped = folders
    assert textrl(straight, command, options) == 0
    take_step = SupervisedTraining._take_step

    def send(training: SupervisedTraining, rows: list[int]) -> None:
        take_step(training, rows)
        if training.step == 3:
            os.kill(os.getpid(), number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SupervisedTraining, "_take_step", send)
        assert textrl(stopped, command, f"{options} --resume auto") == code
    assert "go on with --resume auto" in capsys.readouterr().err
    assert list_checkpoints(stopped / command / "checkpoints")[0].name == "update-000003"
    assert not (stopped / command / "metrics.json").exists()
    assert textrl(stopped, command, f"{options} --resume auto") == 0
    assert textrl(stopped, command, f"{options} --resume auto") == 0, "a finished run is resumed"
    assert left(stopped, command) == left(straight, command)


def test_a_resume_with_other_options_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert textrl(tmp_path, "sft", SFT) == 0
    assert textrl(tmp_path, "sft", f"{SFT} --resume auto --batch-size 7") == 2
    assert "of another experiment: training.batch_size 32 -> 7." in capsys.readouterr().err
