"""A checkpoint is a folder: the model's own folders, `trainer/` (safetensors and JSON, no pickle) and a manifest.

It is written beside its place, flushed to disk and renamed, so that a crash at any moment leaves the older checkpoint
or the new one. See docs/checkpoints.md.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from textrl_env.errors import InputError
from textrl_env.training.distributed import sharded_like, whole

MANIFEST = "manifest.json"
STATE = "trainer/state.json"

Tensors = dict[str, dict[str, Tensor]]


def save(
    path: str | Path,
    save_model: Callable[[Path], object],
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
) -> Path:
    """Writes a checkpoint to `path`, replacing an older one only when the new one is whole; returns the path.

    Args:
        path: the folder.
        save_model: writes what is trained into a folder that it makes.
        tensors: the rest that is tensors, by file and name: `optimizer`, as `optimizer_tensors` gives them, and more.
        state: the rest, for JSON.

    Raises:
        InputError: it could not be written (a full disk, for one); what was there before is still there.
    """
    path = Path(path)
    new, older = _beside(path, "new"), _beside(path, "old")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if older.exists() and not path.exists():
            older.rename(path)
        for leftover in (new, older):
            _remove(leftover)
        try:
            _write(new, save_model, tensors, state)
        except Exception:
            shutil.rmtree(new, ignore_errors=True)
            raise
        if path.exists():
            path.rename(older)
        new.rename(path)
        _flush(path.parent)
        _remove(older)
    return path


def load(
    path: str | Path, load_model: Callable[[Path], object], optimizer: torch.optim.Optimizer
) -> tuple[Tensors, dict[str, Any]]:
    """Puts a checkpoint's numbers into `optimizer`; returns its other tensors and its state.

    Args:
        path: the folder.
        load_model: called with it; takes the parameters that `save_model` wrote.
        optimizer: over the same parameters.

    Raises:
        InputError: no checkpoint there, or a file that differs from the manifest, named.
    """
    path = check(path)
    load_model(path)
    tensors = {file.stem: load_file(file) for file in sorted((path / "trainer").glob("*.safetensors"))}
    optimizer_state = optimizer.state_dict()
    optimizer_state["state"] = {}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for name, value in tensors.pop("optimizer").items():
        index, key = name.split(".", 1)
        optimizer_state["state"].setdefault(int(index), {})[key] = sharded_like(value, parameters[int(index)])
    optimizer.load_state_dict(optimizer_state)
    return tensors, read_state(path)


def read_state(path: Path) -> dict[str, Any]:
    """Reads the state of a checkpoint that `check` found whole."""
    return dict(json.loads((path / STATE).read_text()))


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Returns the state of an optimizer, whole, by the parameter's number and the state's name."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{key}": whole(value) for index, entry in state.items() for key, value in entry.items()}


def check(path: str | Path) -> Path:
    """Returns the folder of a checkpoint after a crash, too; every file of it is as its manifest says.

    Raises:
        InputError: no checkpoint there, or a file that differs from the manifest, named.
    """
    path = Path(path)
    older = _beside(path, "old")
    if not path.exists() and older.exists():
        path = older  # A crash came between the two renames of `save`.
    if not (path / MANIFEST).is_file():
        raise InputError(f"{path}: no checkpoint here (no {MANIFEST}); expected a folder that save() wrote")
    try:
        digests = dict(json.loads((path / MANIFEST).read_text()))
    except (TypeError, ValueError):
        digests = {}
    if STATE not in digests:
        raise InputError(f"{path}: {MANIFEST} is damaged; use another checkpoint")
    for name, digest in digests.items():
        if not (path / name).is_file() or _sha256(path / name) != digest:
            raise InputError(f"{path}: {name} is missing or damaged; use another checkpoint")
    return path


def remove(path: Path) -> None:
    """Deletes a checkpoint; a crash on the way leaves no half of it under its name."""
    remains = _beside(path, "new")
    _remove(remains)
    path.rename(remains)
    _remove(remains)


def sweep(folder: Path) -> None:
    """Deletes what killed processes left beside the checkpoints of a folder."""
    for leftover in folder.glob(".*.new"):
        _remove(leftover)
    for older in folder.glob(".*.old"):
        if folder.joinpath(older.stem[1:]).exists():
            _remove(older)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns a failure to write, within the context, into an InputError that names the path and the reason."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{path}: could not be written ({reason}); earlier checkpoints are intact. Make room on the disk, or "
            "write elsewhere"
        ) from error


def _write(
    path: Path,
    save_model: Callable[[Path], object],
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
) -> None:
    """Writes a whole checkpoint into a new folder; it is on disk when this returns."""
    save_model(path)
    trainer = path / "trainer"
    trainer.mkdir()
    for name, parts in tensors.items():
        save_file({key: value.contiguous() for key, value in parts.items()}, trainer / f"{name}.safetensors")
    (path / STATE).write_text(json.dumps(dict(state), indent=1) + "\n")
    files = sorted(file for file in path.rglob("*") if file.is_file())
    manifest = {str(file.relative_to(path)): _sha256(file) for file in files}
    (path / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    for entry in (*path.rglob("*"), path):
        _flush(entry)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name}.{ending}")


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
