"""`textrl reward-model` by kind, and what takes an ensemble: `textrl ppo`, `textrl evaluate` and `textrl label`."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForSequenceClassification

from textrl_env.cli import main
from textrl_env.errors import InputError
from textrl_env.pipeline import PPOOptions
from textrl_env.reward_models import RewardEnsemble, RewardModel, load_reward_model, read_preferences
from textrl_env.reward_models.feedback.store import Store

KINDS = ["--train head", "--members 3", "--train lora --lora-rank 2 --members 2 --normalize"]
PPO = "--n-prompts 40 --n-updates 1 --n-episodes 8 --batch-size 8 --max-new-tokens 12"


def textrl(command: str, folder: Path, options: str) -> int:
    """The exit code."""
    try:
        main([command, "--run-dir", str(folder), *options.split()])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def run(run_dir: Path, tmp_path: Path) -> Path:
    """The tiny quickstart without its reward model."""
    for name in ("sft", "preferences"):
        shutil.copytree(run_dir / name, tmp_path / "run" / name)
    return tmp_path / "run"


@pytest.fixture(scope="module")
def with_ensemble(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny quickstart with an ensemble in its reward model's place."""
    folder = tmp_path_factory.mktemp("ensemble")
    for name in ("sft", "preferences"):
        shutil.copytree(run_dir / name, folder / name)
    assert textrl("reward-model", folder, "--train head --members 3 --normalize --n-epochs 1") == 0
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_an_ordinary_folder_and_resumes_to_the_same_bits(kind: str, run: Path, tmp_path: Path) -> None:
    options = f"{kind} --n-epochs 3 --batch-size 4 --save-every 4 --keep 5"
    assert textrl("reward-model", run, options) == 0
    out = run / "reward_model"
    _, info = AutoModelForSequenceClassification.from_pretrained(out, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert (out / "adapter" / "adapter_model.safetensors").is_file() == ("lora" in kind)
    reward_model = load_reward_model(out)
    assert isinstance(reward_model, RewardEnsemble) == ("members" in kind)
    rows = [(row.prompt, text) for row in read_preferences(run / "preferences" / "train.jsonl") for text in row.ranking]
    scores = RewardModel.from_pretrained(out).score([prompt for prompt, _ in rows], [text for _, text in rows])
    normal = (pytest.approx(0, abs=1e-4), pytest.approx(1, abs=1e-4))
    assert ((scores.mean(), scores.std()) == normal) == ("normalize" in kind)
    again = tmp_path / "again"
    for name in ("sft", "preferences"):
        shutil.copytree(run / name, again / name)
    assert textrl("reward-model", again, f"{options} --resume {out / 'checkpoints' / 'update-000004'}") == 0
    for name in ("model.safetensors", "members.safetensors", "config.json"):
        if (out / name).exists():
            assert (out / name).read_bytes() == (again / "reward_model" / name).read_bytes()


def test_a_checkpoint_of_another_kind_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert textrl("reward-model", run, "--train head --n-epochs 1") == 0
    for other in ("--train full", "--train head --members 2", "--train lora"):
        assert textrl("reward-model", run, f"{other} --n-epochs 1 --resume auto") == 2
        assert "is of another experiment: kind." in capsys.readouterr().err


@pytest.mark.parametrize("options", ["--train half", "--members 0", "--lora-rank 0"])
def test_impossible_kinds_are_refused(options: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert textrl("reward-model", run, options) == 2
    assert options.split()[1] in capsys.readouterr().err


def logged(folder: Path, name: str) -> float:
    """Of the first update."""
    with (folder / "ppo" / "progress.csv").open() as file:
        return float(next(csv.DictReader(file))[name])


def test_ppo_is_paid_conservatively(with_ensemble: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = {}
    for name, pessimism in (("mean", "0"), ("low", "2"), ("least", "minimum")):
        folder = tmp_path / name
        shutil.copytree(with_ensemble, folder)
        assert textrl("ppo", folder, f"{PPO} --pessimism {pessimism}") == 0
        scores[name] = logged(folder, "objective/scores")
    # The first rollout is of the same policy with the same seed: the same completions.
    assert scores["low"] < scores["least"] < scores["mean"]
    assert "pessimism minimum" in (tmp_path / "least" / "policy" / "README.md").read_text()
    assert textrl("evaluate", tmp_path / "mean", "--n-prompts 4 --max-new-tokens 8") == 0
    shutil.copytree(with_ensemble / "sft", tmp_path / "low" / "single")
    capsys.readouterr()
    assert textrl("ppo", tmp_path / "low", f"{PPO} --pessimism -1") == 2
    assert "pessimism must be at least 0, got -1" in capsys.readouterr().err
    (tmp_path / "low" / "reward_model" / "members.safetensors").unlink()
    assert textrl("ppo", tmp_path / "low", f"{PPO} --pessimism 2") == 2
    assert "is a single reward model, and cannot disagree with itself" in capsys.readouterr().err


def test_the_critic_starts_as_the_reward_model(
    with_ensemble: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def first_values(name: str, options: str) -> float:
        shutil.copytree(with_ensemble, tmp_path / name)
        assert textrl("ppo", tmp_path / name, f"{PPO} {options}") == 0
        return logged(tmp_path / name, "train/value_mean")

    assert first_values("plain", "") == 0
    assert abs(first_values("begun", f"--critic-from {with_ensemble / 'reward_model'}")) > 1e-3
    assert textrl("ppo", with_ensemble, f"{PPO} --critic-from {with_ensemble / 'none'}") == 2
    assert "none: cannot be used (no such file or directory)" in capsys.readouterr().err
    with pytest.raises(InputError, match="critic_from is for critic separate, got shared"):
        PPOOptions(critic="shared", critic_from=with_ensemble)


def test_an_ensemble_alone_says_what_to_label_next(
    with_ensemble: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_answer(prompt: str = "") -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", no_answer)
    completions, database = tmp_path / "c.jsonl", tmp_path / "labels.db"
    rows = [{"prompt": f"Customer: {n}", "completions": ["Yes." * n, "No, never."]} for n in range(1, 6)]
    completions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    main(
        [
            "label",
            "--completions",
            str(completions),
            "--database",
            str(database),
            "--terminal",
            "ada",
            "--reward-models",
            str(with_ensemble / "reward_model"),
        ]
    )
    values = np.array(list(Store(database).disagreement.values()))
    assert len(values) == 5 and (values > 0).all() and (values <= 0.5).all()
