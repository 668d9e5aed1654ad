"""`textrl reward-model`: a run that is stopped ends as one left alone; ratings, losses, and what does not fit."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from textrl_env.cli import main
from textrl_env.pipeline.reward_model import read_for_training
from textrl_env.reward_models.feedback.desk import Desk, DeskConfig
from textrl_env.reward_models.feedback.store import Item, Store
from textrl_env.reward_models.training import RewardModelTraining
from textrl_env.reward_models.training_rows import read_rated_completions
from textrl_env.training.checkpoints.run_checkpoints import list_checkpoints


def reward_model(folder: Path, more: str = "") -> int:
    """The exit code of `textrl reward-model`."""
    options = "--n-epochs 3 --batch-size 4 --save-every 2"
    try:
        main(["reward-model", "--run-dir", str(folder), *options.split(), *more.split()])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def prepared(run_dir: Path, folder: Path) -> Path:
    for name in ("sft", "preferences"):
        shutil.copytree(run_dir / name, folder / name)
    return folder


def results(folder: Path) -> dict[str, Any]:
    """All that a training leaves: its last checkpoint, the model, the figures."""
    out = folder / "reward_model"
    newest = list_checkpoints(out / "checkpoints")[0]
    files = (path for path in newest.rglob("*") if path.is_file())
    return {
        "checkpoint": {str(path.relative_to(newest)): path.read_bytes() for path in files},
        "model": (out / "model.safetensors").read_bytes(),
        "metrics": json.loads((out / "metrics.json").read_text()),
    }


@pytest.fixture(scope="module")
def straight(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = prepared(run_dir, tmp_path_factory.mktemp("straight"))
    assert reward_model(folder) == 0
    return folder


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_resume_auto_ends_as_if_there_had_been_none(
    number: int,
    code: int,
    straight: Path,
    run_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, take_step = prepared(run_dir, tmp_path), RewardModelTraining._take_step

    def send(training: RewardModelTraining, *more: Any) -> None:
        take_step(training, *more)
        if training.step == 3:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(RewardModelTraining, "_take_step", send)
    assert reward_model(folder, "--resume auto") == code
    monkeypatch.undo()
    out = folder / "reward_model"
    saved = out / "checkpoints" / "update-000003"
    assert f"stopped after step 3 of 9; saved in {out} and {saved}; go on with --resume auto" in capsys.readouterr().err
    assert not (out / "metrics.json").exists()
    assert reward_model(folder, "--resume auto") == 0
    assert results(folder) == results(straight)
    # At the end there is nothing left to do, and nothing changes.
    assert reward_model(folder, "--resume auto") == 0
    assert results(folder) == results(straight)


@pytest.mark.filterwarnings("default::UserWarning")
def test_a_damaged_newest_checkpoint_is_named_and_the_run_ends_the_same(
    straight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(straight, tmp_path / "copy")
    damaged, whole = list_checkpoints(tmp_path / "copy" / "reward_model" / "checkpoints")
    os.truncate(damaged / "reward_model" / "model.safetensors", 1000)
    assert reward_model(tmp_path / "copy", "--resume auto") == 0
    told = capsys.readouterr().err
    assert (
        f"{damaged}: reward_model/model.safetensors is missing or damaged" in told and f"going on from {whole}" in told
    )
    assert results(tmp_path / "copy") == results(straight)


@pytest.fixture
def rated(tmp_path: Path) -> Path:
    """What the labelling desk exports after one person gave 24 completions 1 to 7 points."""
    store = Store(tmp_path / "labels.db")
    store.add_items(Item("rating", f"Customer: Hi {n}. Agent:", (f" Hello{' hello' * (n % 7)}.",)) for n in range(24))
    desk = Desk(store, DeskConfig())
    while question := desk.question("ada"):
        asked = {"item": question.key.item, "round": question.key.round, "revision": question.revision}
        said = {"rating": 1 + question.completions[0].count(" hello")}
        submission = question.key.item + str(question.key.round)
        desk.save(desk.answer("ada", asked | said | {"kind": "label", "seconds": 1.0, "submission": submission}))
    store.close()
    export = ["export-labels", "--database", str(tmp_path / "labels.db"), "--form", "ratings"]
    main([*export, "--out", str(tmp_path / "ratings.jsonl")])
    return tmp_path / "ratings.jsonl"


@pytest.mark.parametrize("loss", ["auto", "ordinal"])
def test_the_ratings_of_the_labelling_desk_train_a_reward_model(
    loss: str, rated: Path, run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = prepared(run_dir, tmp_path / "run")
    assert reward_model(folder, f"--preferences {rated} --loss {loss}") == 0
    metrics = json.loads((folder / "reward_model" / "metrics.json").read_text())
    train, heldout = read_for_training(folder, rated, None, read=read_rated_completions)
    assert metrics["n_ratings"] == len(heldout) and metrics["n_pairs"] > 0 and "correlation" in metrics
    assert f"accuracy {metrics['accuracy']:.3f} on {metrics['n_pairs']} held-out pairs" in capsys.readouterr().out
    if loss == "ordinal":
        assert metrics["loss"]["ratings"] == [1, 2, 3, 4, 5, 6, 7]
        assert metrics["loss"]["cutpoints"] == sorted(metrics["loss"]["cutpoints"]) and len(metrics["loss"]) == 3
    else:
        values = [row.rating for row in train]
        assert metrics["loss"]["name"] == "regression"
        assert metrics["loss"]["rating_mean"] == pytest.approx(sum(values) / len(values))


@pytest.mark.filterwarnings("default::UserWarning")
def test_held_out_ratings_that_do_not_differ_are_said_to_judge_nothing(
    rated: Path, run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = tmp_path / "same.jsonl"
    same.write_text(rated.read_text().splitlines()[0] + "\n")
    folder = prepared(run_dir, tmp_path / "run")
    assert reward_model(folder, f"--preferences {rated} --heldout {same} --n-epochs 1") == 0
    captured = capsys.readouterr()
    assert "no two held-out ratings differ, so nothing says how good it is" in captured.out
    assert "same.jsonl: 1 of its 1 prompts are trained on as well" in captured.err


def test_the_loss_of_ties_reports_what_it_learnt(run_dir: Path, tmp_path: Path) -> None:
    folder = prepared(run_dir, tmp_path)
    assert reward_model(folder, "--loss davidson --label-smoothing 0.1 --center-rewards-coefficient 0.01") == 0
    metrics = json.loads((folder / "reward_model" / "metrics.json").read_text())
    assert metrics["loss"]["name"] == "davidson" and metrics["loss"]["log_tie"] < 0
    assert {"ece", "ceiling", "calibration"} <= metrics.keys()


def test_what_does_not_fit_is_one_line(
    straight: Path, rated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"prompt": "p", "chosen": "a", "rejected": "b", "margin": "wide"}\n')
    tied = tmp_path / "tied.jsonl"
    tied.write_text("".join(f'{{"prompt": "{p}", "chosen": "a", "rejected": "b", "tie": true}}\n' for p in "pq"))
    for more, message in (
        (f"--preferences {bad}", f"{bad}:1: 'margin' must be a number, got 'wide'"),
        (f"--preferences {rated} --loss pairs", "loss pairs does not go with ratings; choose one of regression"),
        (f"--preferences {tied} --loss plackett-luce", ": loss plackett-luce takes rankings without ties"),
        ("--loss plackett-luce --label-smoothing 0.1", "label_smoothing is for the losses pairs and davidson"),
        ("--label-smoothing 0.7", "label_smoothing must be in [0, 0.5), got 0.7"),
        ("--resume auto --n-epochs 4", "training.n_epochs 3 -> 4"),
        ("--resume sometimes", "resume must be auto, never or a checkpoint's folder, got 'sometimes'"),
        (f"--resume {tmp_path}", "no checkpoint here"),
        ("--save-every 0", "save_every must be at least 1, got 0"),
    ):
        assert reward_model(straight, more) == 2
        assert message in (shown := capsys.readouterr().err) and "Traceback" not in shown
