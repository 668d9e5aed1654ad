"""A model's folder from a stranger cannot run anything, and the package holds nothing that could."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import RepositoryNotFoundError
from transformers import AutoModelForCausalLM

from textrl_env import InputError
from textrl_env.lm import load_config, load_model, load_tokenizer, resolve_model

PACKAGE = Path(__file__).parents[4]


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.fixture
def folder(make_model: Any, tmp_path: Path) -> Path:
    make_model("llama").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def only_pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled_shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    shards = {"weight_map": {"lm_head.weight": "pytorch_model.bin"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(shards))


def pickled_by_name(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "pytorch_model.bin").rename(folder / "adapter_model.bin")
    (folder / "config.json").write_text(json.dumps(config | {"transformers_weights": "adapter_model.bin"}))


@pytest.mark.parametrize("plant", [only_pickled, pickled_shard, pickled_by_name])
def test_pickled_weights_are_refused_unread(folder: Path, tmp_path: Path, plant: Callable[[Path], None]) -> None:
    torch.save(Trap(tmp_path / "sprung"), folder / "pytorch_model.bin")
    plant(folder)
    with pytest.raises(InputError, match="the weights must be in safetensors"):
        load_model(AutoModelForCausalLM, folder)
    assert not (tmp_path / "sprung").exists()
    with (folder / "trap.pkl").open("wb") as file:
        pickle.dump(Trap(tmp_path / "sprung"), file)
    with (folder / "trap.pkl").open("rb") as file:
        pickle.load(file)
    assert (tmp_path / "sprung").exists()


def test_beside_safetensors_pickled_weights_do_no_harm(folder: Path, tmp_path: Path) -> None:
    torch.save(Trap(tmp_path / "sprung"), folder / "pytorch_model.bin")
    assert load_model(AutoModelForCausalLM, folder).config.model_type == "llama"
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("load", [lambda path: load_model(AutoModelForCausalLM, path), load_config, load_tokenizer])
def test_code_in_the_folder_is_not_run(
    folder: Path, tmp_path: Path, load: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Asked at the terminal, a hasty user says yes.
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\nclass Evil: pass\n")
    config = json.loads((folder / "config.json").read_text())
    mapped = {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil", "AutoTokenizer": ["evil.Evil", None]}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "evil", "auto_map": mapped}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "Evil", "auto_map": mapped}))
    with pytest.raises(InputError, match="code of its own, which is not run"):
        load(folder)
    assert not (tmp_path / "sprung").exists()


def test_an_index_that_is_not_json_is_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text("[")
    with pytest.raises(InputError, match=r"index\.json: cannot be read"):
        load_model(AutoModelForCausalLM, folder)


def test_a_hub_id_is_fetched_without_what_could_be_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[tuple[str, dict[str, Any]]] = []

    def snapshot_download(repo_id: str, **options: Any) -> str:
        requests.append((repo_id, options))
        return str(folder)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert resolve_model("someone/tiny-llama") == folder
    assert load_config(Path("someone/tiny-llama")).model_type == "llama"
    assert load_model(AutoModelForCausalLM, "someone/tiny-llama").config.model_type == "llama"
    assert {name for name, _ in requests} == {"someone/tiny-llama"}
    assert not any(pattern.endswith((".bin", ".py", ".pt", "*")) for pattern in requests[0][1]["allow_patterns"])


@pytest.mark.parametrize("name", ["runs/sft", "missing", "./a/b", "runs/mine/sft", "/a/b", "model"])
def test_a_path_stays_a_path(name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    assert resolve_model(name) == Path(name)
    assert resolve_model(folder) == folder


@pytest.mark.parametrize("fault", [ConnectionError("no route"), RuntimeError("proxy")])
def test_a_hub_that_cannot_be_reached_is_said_plainly(
    fault: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def snapshot_download(*_: Any, **__: Any) -> str:
        raise fault

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(InputError, match=r"^someone/model: no such folder.*could not be reached.*give the folder"):
        load_tokenizer("someone/model")


def test_a_model_that_the_hub_does_not_show_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class MissingError(RepositoryNotFoundError):
        def __init__(self) -> None:
            Exception.__init__(self)

    def snapshot_download(*_: Any, **__: Any) -> str:
        raise MissingError

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(InputError, match=r"someone/model: .*shows no such model; check the name"):
        resolve_model("someone/model")
