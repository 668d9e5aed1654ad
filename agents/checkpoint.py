"""A checkpoint is a folder: `policy/`, `critic/`, `trainer/` (safetensors and JSON, no pickle) and a manifest.

It is written under a temporary name, flushed to disk and renamed, so that a folder of the final name is whole.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from textrl_env import InputError
from textrl_env.agents.actor_critic import ActorCriticLM

MANIFEST = "manifest.json"


def save(
    path: str | Path,
    policy: ActorCriticLM,
    optimizer: torch.optim.Optimizer,
    generators: Mapping[str, torch.Generator],
    counters: Mapping[str, float],
) -> Path:
    """Writes a checkpoint to `path`, replacing an older one only when the new one is whole; returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    policy.save_pretrained(temporary)
    trainer = temporary / "trainer"
    trainer.mkdir()
    save_file(_optimizer_tensors(optimizer), trainer / "optimizer.safetensors")
    save_file(
        {name: generator.get_state() for name, generator in generators.items()}, trainer / "generators.safetensors"
    )
    (trainer / "counters.json").write_text(json.dumps(dict(counters), indent=1) + "\n")
    files = sorted(file for file in temporary.rglob("*") if file.is_file())
    manifest = {str(file.relative_to(temporary)): _sha256(file) for file in files}
    (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    for file in (*files, temporary / MANIFEST):
        _flush(file)
    older = path.with_name(f".{path.name}.{os.getpid()}.old")
    if path.exists():
        path.rename(older)
    temporary.rename(path)
    _flush(path.parent)
    shutil.rmtree(older, ignore_errors=True)
    return path


def load(
    path: str | Path,
    policy: ActorCriticLM,
    optimizer: torch.optim.Optimizer,
    generators: Mapping[str, torch.Generator],
) -> dict[str, Any]:
    """Puts a checkpoint's state into `policy`, `optimizer` and `generators` and returns its counters.

    Raises:
        InputError: no checkpoint there, or a file that differs from the manifest, named.
    """
    path = Path(path)
    check(path)
    loaded = ActorCriticLM.from_pretrained(path, vocab_size=policy.vocab_size, critic=policy.critic_kind)
    policy.load_state_dict(loaded.state_dict())
    tensors = load_file(path / "trainer" / "optimizer.safetensors")
    state = optimizer.state_dict()
    state["state"] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        state["state"].setdefault(int(index), {})[key] = value
    optimizer.load_state_dict(state)
    for name, value in load_file(path / "trainer" / "generators.safetensors").items():
        generators[name].set_state(value)
    counters: dict[str, Any] = json.loads((path / "trainer" / "counters.json").read_text())
    return counters


def check(path: Path) -> None:
    """Raises InputError unless every file of the checkpoint is as its manifest says."""
    if not (path / MANIFEST).is_file():
        raise InputError(f"{path}: no checkpoint here (no {MANIFEST}); expected a folder that save() wrote")
    try:
        digests = dict(json.loads((path / MANIFEST).read_text()))
    except (TypeError, ValueError):
        raise InputError(f"{path}: {MANIFEST} is damaged; use another checkpoint") from None
    for name, digest in digests.items():
        if not (path / name).is_file() or _sha256(path / name) != digest:
            raise InputError(f"{path}: {name} is missing or damaged; use another checkpoint")


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{index}.{key}": value.contiguous() for index, entry in state.items() for key, value in entry.items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
