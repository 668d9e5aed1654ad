"""A checkpoint is read as far as its manifest lists it; a foreign or damaged one is refused in one line."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from textrl_env import InputError
from textrl_env.training import checkpoints

STATE = "trainer/state.json"


class Parameters:
    """The smallest thing that can be trained, and notes which files its loader saw."""

    def __init__(self, size: int = 3) -> None:
        self.weight = torch.nn.Parameter(torch.ones(size))
        self.optimizer = torch.optim.AdamW([self.weight])
        self.weight.sum().backward()
        self.optimizer.step()
        self.files: set[str] = set()

    def save(self, path: Path, **state: Any) -> Path:
        def write(folder: Path) -> None:
            (folder / "policy").mkdir()
            (folder / "policy" / "config.json").write_text("{}")

        tensors = {"optimizer": checkpoints.optimizer_tensors(self.optimizer), "more": {"x": torch.zeros(1)}}
        return checkpoints.save(path, write, tensors, state)

    def load(self, path: Path) -> Any:
        def read(folder: Path) -> None:
            self.files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if not file.is_dir()}

        return checkpoints.load(path, read, self.optimizer)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return Parameters().save(tmp_path / "update-000001", step=1)


def rewrite(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(change(manifest)))


def test_files_that_the_manifest_does_not_list_are_not_read(checkpoint: Path) -> None:
    for name in ("policy/pytorch_model.bin", "policy/adapter/adapter_config.json", "trainer/extra.safetensors", "x.py"):
        (checkpoint / name).parent.mkdir(exist_ok=True)
        (checkpoint / name).write_bytes(b"no tensors at all")
    parameters = Parameters()
    tensors, state = parameters.load(checkpoint)
    assert tensors.keys() == {"more"} and state == {"step": 1}
    assert parameters.files == {
        "policy/config.json",
        STATE,
        "trainer/optimizer.safetensors",
        "trainer/more.safetensors",
    }


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/passwd", "policy/../../secret.txt", "policy/link.txt"])
def test_names_that_lead_outside_are_refused(name: str, checkpoint: Path) -> None:
    secret = checkpoint.parent / "secret.txt"
    secret.write_text("secret")
    (checkpoint / "policy" / "link.txt").symlink_to(secret)
    digest = hashlib.sha256(b"secret").hexdigest()
    rewrite(checkpoint, lambda manifest: manifest | {name: digest})
    with pytest.raises(InputError, match="leads out of the checkpoint's folder"):
        checkpoints.check(checkpoint)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: [manifest],
        lambda manifest: "text",
        lambda manifest: None,
        lambda manifest: {},
        lambda manifest: manifest | {STATE: 3},
        lambda manifest: manifest | {STATE: None},
        lambda manifest: manifest | {STATE: ["x"]},
        lambda manifest: manifest | {STATE: "0" * 63},
        lambda manifest: manifest | {"policy": {"config.json": "x"}},
    ],
)
def test_a_manifest_of_another_form_is_refused(change: Callable[[Any], Any], checkpoint: Path) -> None:
    rewrite(checkpoint, change)
    for read in (checkpoints.check, checkpoints.read_state, Parameters().load):
        with pytest.raises(InputError, match=r"manifest\.json is damaged"):
            read(checkpoint)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 100_000, b"{"])
def test_a_manifest_that_is_no_json_is_refused(content: bytes, checkpoint: Path) -> None:
    (checkpoint / "manifest.json").write_bytes(content)
    with pytest.raises(InputError, match=r"manifest\.json is damaged"):
        checkpoints.check(checkpoint)


def test_a_checkpoint_of_another_shape_is_refused_before_anything_is_taken(checkpoint: Path) -> None:
    other = Parameters(size=4)
    before = {name: value.clone() for name, value in checkpoints.optimizer_tensors(other.optimizer).items()}
    with pytest.raises(
        InputError, match=r"of another shape: exp_avg.* of parameter 0 is \(3,\), the parameter here \(4,\)"
    ):
        other.load(checkpoint)
    after = checkpoints.optimizer_tensors(other.optimizer)
    assert not other.files and all(torch.equal(before[name], value) for name, value in after.items())


@pytest.mark.parametrize("content", ["[]", "3", '"text"', "{", "null"])
def test_a_state_that_its_manifest_vouches_for_and_is_none_is_refused(content: str, checkpoint: Path) -> None:
    (checkpoint / STATE).write_text(content)
    digest = hashlib.sha256(content.encode()).hexdigest()
    rewrite(checkpoint, lambda manifest: manifest | {STATE: digest})
    if content == "[]":
        assert checkpoints.read_state(checkpoint) == {}
        return
    with pytest.raises(InputError, match="does not fit this training"):
        checkpoints.read_state(checkpoint)


def test_every_difference_between_two_experiments_is_named(tmp_path: Path) -> None:
    def content(letter: str, file: str) -> dict[str, str]:
        return {"sha256": letter * 64, "file": file}

    experiment = {"learning_rate": 0.001, "prompts": content("a", "/x"), "policy/model.safetensors": content("b", "/m")}
    path = Parameters().save(tmp_path / "run", experiment=checkpoints.as_record(experiment))
    assert "/x" not in (path / STATE).read_text(), "a run that is moved stays the same run"
    checkpoints.require_same_experiment(path, experiment | {"prompts": content("a", "/moved")})
    checkpoints.require_same_experiment(path, {})
    changed = {
        "learning_rate": 0.002,
        "prompts": content("c", "/y"),
        "policy/config.json": content("d", "/c"),
        "seed": 1,
    }
    with pytest.raises(InputError) as raised:
        checkpoints.require_same_experiment(path, changed)
    for part in (
        "learning_rate 0.001 -> 0.002",
        "prompts has another content (/y)",
        "seed null -> 1",
        "policy/config.json null -> /c",
        "policy/model.safetensors is gone",
        "start anew with --resume never",
    ):
        assert part in str(raised.value)


def test_a_checkpoint_without_an_experiment_is_not_taken_for_the_same(checkpoint: Path) -> None:
    with pytest.raises(InputError, match="does not say which experiment it is of"):
        checkpoints.require_same_experiment(checkpoint, {"seed": 0})
