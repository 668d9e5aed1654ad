"""The stages as functions: called from a script, on their own data, without a console."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from textrl_env import InputError
from textrl_env.agents import SFTConfig
from textrl_env.data import prompts as prompts_module
from textrl_env.data.text import Tokenizer, encode_prompts
from textrl_env.pipeline import (
    EvaluationOptions,
    PPOOptions,
    SFTOptions,
    default_data,
    run_evaluation,
    run_ppo,
    run_sft,
)
from textrl_env.pipeline.runs import require_model, run_stage
from textrl_env.worlds import support_desk

TINY = {"n_updates": 1, "n_episodes": 4, "batch_size": 4, "max_new_tokens": 5}


@pytest.fixture
def prompts(tmp_path: Path) -> dict[str, Path]:
    """Prompts to train on, more than are drawn in an update, and held-out ones."""
    files = {}
    for name, n in (("train", 30), ("heldout", 6)):
        files[name] = tmp_path / f"{name}.txt"
        files[name].write_text("".join(f"{name} {number}:\n" for number in range(n)))
    return files


def test_a_script_trains_and_compares_a_policy_in_a_folder_of_its_own(
    run_dir: Path, prompts: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models: dict[str, Any] = {"reward_model": run_dir / "reward_model", "prompts": prompts["train"]}
    out = tmp_path / "mine"
    metrics = run_ppo(PPOOptions(policy=run_dir / "sft", **models, **TINY), out, seed=0)
    assert metrics.keys() == {"n_updates", "score", "kl"} and metrics["n_updates"] == 1
    evaluation = EvaluationOptions(reference=run_dir / "sft", **models)
    figures = run_stage(run_evaluation, evaluation, out)
    assert json.loads((out / "evaluation" / "metrics.json").read_text()) == figures
    manifest = json.loads((out / "evaluation" / "manifest.json").read_text())
    assert manifest["config"]["prompts"] == str(prompts["train"]) and manifest["seed"] == 0
    assert not (out / "ppo" / "manifest.json").exists(), "only run_stage writes one"
    assert "textrl" not in capsys.readouterr().out


def test_training_a_policy_encodes_every_prompt_once(
    run_dir: Path, prompts: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check that all prompts fit, the environment and the evaluation share their token ids."""
    encoded: Counter[str] = Counter()

    def counted(tokenizer: Tokenizer, texts: Sequence[str]) -> Any:
        encoded.update(texts)
        return encode_prompts(tokenizer, texts)

    monkeypatch.setattr(prompts_module, "encode_prompts", counted)
    models: dict[str, Any] = {"policy": run_dir / "sft", "reward_model": run_dir / "reward_model"}
    run_ppo(PPOOptions(**models, prompts=prompts["train"], heldout=prompts["heldout"], **TINY), tmp_path / "run")
    texts = [line for file in prompts.values() for line in file.read_text().splitlines()]
    assert encoded == Counter(texts) and set(encoded.values()) == {1}


def test_default_data_are_the_support_desks_by_a_seed_for_each_use() -> None:
    def drawn(seed: int, split: support_desk.Split = "train") -> list[str]:
        return [row["prompt"] for row in support_desk.prompts(64, seed=seed, split=split)]

    assert [row["prompt"] for row in default_data.draw_requests(64, seed=7)] == drawn(1007)
    assert list(default_data.draw_training_prompts(64, seed=7).prompts) == drawn(2007)
    assert list(default_data.draw_evaluation_prompts(64, seed=7).prompts) == drawn(3007, "heldout")
    assert list(default_data.draw_watching_prompts(seed=7).prompts) == drawn(4007, "heldout")
    assert list(default_data.draw_reply_prompts(64, seed=7).prompts) == drawn(4007)
    train, heldout = default_data.draw_demonstrations(5, seed=7)
    assert train == support_desk.demonstrations(5, seed=7) and len(heldout) == 300


def test_a_model_of_the_users_may_be_a_hub_id_and_the_runs_own_is_a_folder(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []

    def snapshot_download(name: str, **_: Any) -> str:
        names.append(name)
        return str(run_dir / "sft")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert require_model(Path("org/model"), made_by="nothing") == run_dir / "sft"
    with pytest.raises(InputError, match=r"^mine/sft/config.json: not there yet; make it with: textrl sft$"):
        require_model(None, Path("mine/sft"), made_by="textrl sft")
    assert names == ["org/model"]
    options = SFTOptions(model=Path("org/model"), n_demonstrations=20, training=SFTConfig(n_steps=1))
    assert run_sft(options, tmp_path / "run")["n_demonstrations"] == 20
    assert "| Started from | org/model |" in (tmp_path / "run" / "sft" / "README.md").read_text()
