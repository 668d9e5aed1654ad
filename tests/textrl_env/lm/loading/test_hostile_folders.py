"""Folders that a stranger made, or a crash left: nothing of them runs, and each is one line that names it."""

import contextlib
import json
import pickle
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile_folders import (
    AUTO_MAP,
    HARMLESS,
    HOSTILE,
    HOSTILE_REWARD_MODELS,
    Change,
    both,
    code,
    pickled,
    write_clean,
)
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from textrl_env import InputError
from textrl_env.agents import ActorCriticLM
from textrl_env.agents.policy import init_critic_from
from textrl_env.lm import load_config, load_model, load_tokenizer
from textrl_env.lm.adapters import load_adapters, load_saved, save_model, with_lora
from textrl_env.lm.loading import load_generation_config
from textrl_env.reward_models import RewardEnsemble, RewardModel, load_reward_model
from textrl_env.reward_models.ai_feedback.judges import LanguageModelJudge
from textrl_env.reward_models.model import load_reward


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_clean(tmp_path_factory.mktemp("clean"))


@pytest.fixture
def hostile(clean: dict[str, Path], tmp_path: Path) -> Callable[[str, Change], Path]:
    def make(kind: str, change: Change) -> Path:
        folder = tmp_path / f"{kind} folder"
        shutil.copytree(clean[kind], folder)
        change(folder, tmp_path / "canary")
        return folder

    return make


# Whoever loads a model together with its tokenizer, and those who take part of it.
LANGUAGE_MODEL_LOADERS: dict[str, Callable[[Path], Any]] = {
    "LanguageModelJudge": LanguageModelJudge.from_pretrained,
    "RewardModel": lambda folder: RewardModel.from_pretrained(folder, seed=0),
    "RewardModel with layers": lambda folder: RewardModel.from_pretrained(folder, seed=0, layers=1),
    "ActorCriticLM": ActorCriticLM.from_pretrained,
    "load_model": lambda folder: load_model(AutoModelForCausalLM, folder),
    "load_model, trunk": lambda folder: load_model(AutoModel, folder),
    "load_config": load_config,
    "load_tokenizer": load_tokenizer,
    "load_generation_config": load_generation_config,
}
REWARD_MODEL_LOADERS: dict[str, Callable[[Path], Any]] = {
    "load_reward_model": load_reward_model,
    "RewardModel.from_trained": RewardModel.from_trained,
    "RewardModel": lambda folder: RewardModel.from_pretrained(folder, seed=0),
    "RewardEnsemble": RewardEnsemble.from_pretrained,
    "load_reward": load_reward,
}


def collect_faults(loaders: dict[str, Callable[[Path], Any]], folder: Path) -> dict[str, str]:
    """What each loader refuses the folder with; another exception than InputError fails the test."""
    faults = {}
    for name, load in loaders.items():
        try:
            load(folder)
        except InputError as error:
            faults[name] = str(error)
    assert all(str(folder) in fault and "\n" not in fault for fault in faults.values()), faults
    return faults


@pytest.fixture(autouse=True)
def no_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked a question"))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_language_model_is_refused_with_a_line_and_nothing_runs(
    name: str, hostile: Callable[[str, Change], Path], tmp_path: Path
) -> None:
    change, message = HOSTILE[name]
    faults = collect_faults(LANGUAGE_MODEL_LOADERS, hostile("lm", change))
    assert message in faults["LanguageModelJudge"]
    assert "generation" in message or message in faults["RewardModel"]
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", HOSTILE | HOSTILE_REWARD_MODELS)
def test_a_reward_model_is_refused_with_a_line_and_nothing_runs(
    name: str, hostile: Callable[[str, Change], Path], tmp_path: Path
) -> None:
    change, message = (HOSTILE | HOSTILE_REWARD_MODELS)[name]
    faults = collect_faults(REWARD_MODEL_LOADERS, hostile("rm", change))
    assert "generation" in message or message in faults["load_reward_model"]
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_not_needed_is_not_touched(
    name: str, hostile: Callable[[str, Change], Path], tmp_path: Path, clean: dict[str, Path]
) -> None:
    folder = hostile("lm", HARMLESS[name])
    model, original = (load_model(AutoModelForCausalLM, path) for path in (folder, clean["lm"]))
    ids = torch.arange(6)[None]
    assert torch.equal(model(ids).logits, original(ids).logits)
    assert not collect_faults(LANGUAGE_MODEL_LOADERS, folder)
    assert not (tmp_path / "canary").exists()


def test_the_trap_would_spring(hostile: Callable[[str, Change], Path], tmp_path: Path) -> None:
    """What the tests above rely on: unpickled, or imported, the folder leaves a file behind."""
    folder = hostile("lm", both(code, pickled("pytorch_model.bin")))
    with (folder / "pytorch_model.bin").open("rb") as file:
        pickle.load(file)
    assert (tmp_path / "canary").exists()
    (tmp_path / "canary").unlink()
    runpy.run_path(str(folder / "evil.py"))
    assert (tmp_path / "canary").exists()
    (tmp_path / "canary").unlink()
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "evil", "auto_map": AUTO_MAP}
    (folder / "config.json").write_text(json.dumps(config))
    with contextlib.suppress(Exception):
        AutoConfig.from_pretrained(folder, trust_remote_code=True)
    assert (tmp_path / "canary").exists()


def test_a_model_of_the_other_kind_is_named(clean: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=r"has no score.weight, the head .* holds a LlamaForCausalLM"):
        load_reward_model(clean["lm"])
    with pytest.raises(
        InputError, match=r"score.weight has no place in the LlamaForCausalLM .* holds a LlamaForSequenceClassification"
    ):
        load_model(AutoModelForCausalLM, clean["rm"])
    with pytest.warns(UserWarning, match="random until it is trained"):
        RewardModel.from_pretrained(clean["lm"])


@pytest.mark.parametrize("name", list(HOSTILE)[::3])
def test_parameters_are_taken_from_whole_folders_only_and_then_nothing_changes(
    name: str, hostile: Callable[[str, Change], Path], clean: dict[str, Path], tmp_path: Path
) -> None:
    """Checkpoints and critics go through the same gate; a model that refused a folder is as it was."""
    change, _ = HOSTILE[name]
    policy, judge = load_model(AutoModelForCausalLM, clean["lm"]), load_reward_model(clean["rm"])
    agent = ActorCriticLM(load_model(AutoModelForCausalLM, clean["lm"]), vocab_size=259)
    lm, rm = hostile("lm", change), hostile("rm", change)
    loaders: dict[str, tuple[Path, Any, Callable[[], Any]]] = {
        "load_saved": (lm, policy, lambda: load_saved(policy, lm)),
        "load_pretrained": (lm, agent, lambda: agent.load_pretrained(lm)),
        "load_parameters": (rm, judge.model, lambda: judge.load_parameters(rm)),
        "init_critic_from": (rm, agent, lambda: init_critic_from(agent, rm, judge.tokenizer)),
    }
    for folder, model, load in loaders.values():
        before = {key: value.clone() for key, value in model.state_dict().items()}
        if collect_faults({"load": lambda _, load=load: load()}, folder):
            assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 64, None])
def test_adapters_and_heads_are_read_from_whole_safetensors(content: bytes | None, clean: Any, tmp_path: Path) -> None:
    model = with_lora(load_model(AutoModelForCausalLM, clean["lm"]), rank=2)
    agent = ActorCriticLM(load_model(AutoModelForCausalLM, clean["lm"]), vocab_size=259)
    save_model(model, tmp_path)
    agent.save_pretrained(tmp_path / "agent")
    for file in (tmp_path / "adapter/adapter_model.safetensors", tmp_path / "agent/critic/value_head.safetensors"):
        if content is None:
            save_file({key: torch.full_like(value, torch.nan) for key, value in load_file(file).items()}, file)
        else:
            file.write_bytes(content)
    fault = "holds NaN or Inf" if content is None else "is cut off, or no safetensors file"
    with pytest.raises(InputError, match=f"adapter_model.safetensors: .*{fault}"):
        load_adapters(model, tmp_path)
    with pytest.raises(InputError, match=f"value_head.safetensors: .*{fault}"):
        agent.load_pretrained(tmp_path / "agent")
