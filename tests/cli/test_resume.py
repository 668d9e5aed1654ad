"""`textrl ppo --resume`: what is stopped, killed or damaged ends as the run that was left alone."""

import errno
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from textrl_env.agents.callbacks import TrackReward
from textrl_env.agents.on_policy.log_files import JSONRows
from textrl_env.cli import main
from textrl_env.training.checkpoints.run_checkpoints import list_checkpoints

OPTIONS = "--n-updates 4 --n-prompts 40 --n-episodes 8 --batch-size 4 --save-every 1"


def prepared(run_dir: Path, folder: Path) -> Path:
    for name in ("sft", "reward_model"):
        shutil.copytree(run_dir / name, folder / name)
    return folder


def ppo(folder: Path, more: str = "") -> int:
    """The exit code of `textrl ppo`."""
    try:
        main(["ppo", "--run-dir", str(folder), *OPTIONS.split(), *more.split()])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def results(folder: Path) -> dict[str, Any]:
    """All that a run leaves: the policy, the critic, the whole training state, the log but for the clock."""
    newest = list_checkpoints(folder / "ppo" / "checkpoints")[0]
    lines = (folder / "ppo" / "progress.jsonl").read_text().splitlines()
    return {
        "files": {str(path.relative_to(newest)): path.read_bytes() for path in newest.rglob("*") if path.is_file()},
        "policy": (folder / "policy" / "model.safetensors").read_bytes(),
        "log": [{key: value for key, value in json.loads(line).items() if key != "time/fps"} for line in lines],
        "metrics": json.loads((folder / "ppo" / "metrics.json").read_text()),
        "columns": len((folder / "ppo" / "progress.csv").read_text().splitlines()),
    }


@pytest.fixture(scope="module")
def straight(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = prepared(run_dir, tmp_path_factory.mktemp("straight"))
    assert ppo(folder) == 0
    return folder


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_in_the_middle_of_an_update_saves_and_resume_auto_ends_as_if_there_had_been_none(
    number: int,
    code: int,
    straight: Path,
    run_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, track = prepared(run_dir, tmp_path), TrackReward._on_rollout_end

    def send(callback: TrackReward) -> None:
        track(callback)
        if callback.model.n_updates == 2:  # type: ignore[attr-defined]
            os.kill(os.getpid(), number)

    monkeypatch.setattr(TrackReward, "_on_rollout_end", send)
    assert ppo(folder, "--resume auto") == code
    monkeypatch.undo()
    saved = folder / "ppo" / "checkpoints" / "update-000002-001"
    assert f"stopped after update 2; saved in {folder / 'policy'} and {saved}; go on with" in capsys.readouterr().err
    assert list_checkpoints(saved.parent)[0] == saved
    assert not (folder / "ppo" / "metrics.json").exists()
    assert ppo(folder, "--resume auto") == 0
    assert results(folder) == results(straight)


def test_resumed_at_the_end_nothing_changes(straight: Path) -> None:
    before = results(straight)
    assert ppo(straight, "--resume auto") == 0
    assert results(straight) == before


@pytest.mark.filterwarnings("default::UserWarning")
def test_a_damaged_newest_checkpoint_is_named_and_the_run_ends_the_same(
    straight: Path, run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = results(straight)
    shutil.copytree(straight, tmp_path / "copy")
    damaged = list_checkpoints(tmp_path / "copy" / "ppo" / "checkpoints")[0]
    os.truncate(damaged / "trainer" / "optimizer.safetensors", 1000)
    # A killed process may have left half a line.
    with (tmp_path / "copy" / "ppo" / "progress.jsonl").open("a") as log:
        log.write('{"time/iterations": 5, "objec')
    capsys.readouterr()
    assert ppo(tmp_path / "copy", "--resume auto") == 0
    assert f"textrl: {damaged}: trainer/optimizer.safetensors is missing or damaged" in capsys.readouterr().err
    assert results(tmp_path / "copy") == before


@pytest.mark.filterwarnings("default::UserWarning")
def test_a_checkpoint_of_choice_and_what_does_not_fit(
    straight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = results(straight)
    shutil.copytree(straight, tmp_path / "copy")
    chosen = list_checkpoints(tmp_path / "copy" / "ppo" / "checkpoints")[1]
    for more, message in (
        (
            "--resume auto --n-updates 9",
            "is of another experiment: n_updates 4 -> 9. Give what it had, or start anew",
        ),
        ("--resume auto --learning-rate 0.002", "of another experiment: learning_rate 0.001 -> 0.002."),
        ("--resume auto --kl-coef 0.2 --seed 1", "of another experiment: seed 0 -> 1; kl_coef 0.1 -> 0.2."),
        ("--resume auto --n-episodes 4", "n_episodes 8 -> 4"),
        ("--resume sometimes", "resume must be auto, never or a checkpoint's folder, got 'sometimes'"),
        (f"--resume {tmp_path}", "no checkpoint here"),
        ("--keep 0", "keep must be at least 1, got 0"),
    ):
        assert ppo(tmp_path / "copy", more) == 2
        assert message in (shown := capsys.readouterr().err) and "Traceback" not in shown
    assert ppo(tmp_path / "copy", f"--resume {chosen}") == 0
    assert results(tmp_path / "copy") == before


def test_other_models_are_refused_by_name(straight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model of the same shapes in the same place, the prompts elsewhere: it is the content that counts."""
    shutil.copytree(straight, tmp_path / "moved")
    assert ppo(tmp_path / "moved", "--resume auto --save-every 3 --keep 5 --watch-every 7") == 0
    for name, option in (("reward_model", "reward_model"), ("sft", "policy")):
        config = tmp_path / "moved" / name / "generation_config.json"
        before = config.read_bytes() if config.exists() else None
        config.write_text('{"temperature": 0.5}')
        assert ppo(tmp_path / "moved", "--resume auto") == 2
        assert f"of another experiment: {option}/generation_config.json" in capsys.readouterr().err
        config.write_bytes(before) if before is not None else config.unlink()


def test_a_disk_that_is_full_for_the_log_is_one_line_and_the_run_can_be_resumed(
    straight: Path, run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write, folder = JSONRows.write, prepared(run_dir, tmp_path)

    def full(log: Any, row: dict[str, Any], *more: Any) -> None:
        if row.get("time/iterations") == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(log, row, *more)

    monkeypatch.setattr(JSONRows, "write", full)
    assert ppo(folder) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("textrl: ")]
    assert lines == [
        f"textrl: {folder}: could not be written (No space left on device); what was saved before is "
        "intact. Make room on the disk, or write elsewhere"
    ]
    monkeypatch.undo()
    assert ppo(folder, "--resume auto") == 0
    assert results(folder) == results(straight)
