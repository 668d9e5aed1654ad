"""A checkpoint is a folder: the model's own folders, `trainer/` (safetensors and JSON, no pickle) and a manifest.

It is written whole or not at all, and read only as far as its manifest lists it. See docs/checkpoints.md.
"""

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from textrl_env.errors import InputError
from textrl_env.files import digest_file, find_whole, replacing
from textrl_env.training.distributed import sharded_like, whole

MANIFEST = "manifest.json"
STATE = "trainer/state.json"
SHA256 = re.compile(r"[0-9a-f]{64}")
MISFITS = (ArithmeticError, AttributeError, LookupError, RuntimeError, SafetensorError, TypeError, ValueError)
"""What Python, torch and safetensors raise for numbers of another form."""

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
        save_model: writes what is trained into a folder that is there.
        tensors: the rest that is tensors, by file and name: `optimizer`, as `optimizer_tensors` gives them, and more.
        state: the rest, for JSON.

    Raises:
        InputError: it could not be written (a full disk, for one); what was there before is still there.
    """
    with replacing(path) as new:
        save_model(new)
        trainer = new / "trainer"
        trainer.mkdir()
        for name, parts in tensors.items():
            save_file({key: value.contiguous() for key, value in parts.items()}, trainer / f"{name}.safetensors")
        (new / STATE).write_text(json.dumps(dict(state), indent=1) + "\n")
        files = sorted(file for file in new.rglob("*") if file.is_file())
        manifest = {file.relative_to(new).as_posix(): digest_file(file) for file in files}
        (new / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    return Path(path)


def load(
    path: str | Path, load_model: Callable[[Path], object], optimizer: torch.optim.Optimizer
) -> tuple[Tensors, dict[str, Any]]:
    """Puts a checkpoint's numbers into `optimizer`; returns its other tensors and its state.

    Only files that the manifest lists are read.

    Args:
        path: the folder.
        load_model: called with it; takes the parameters that `save_model` wrote.
        optimizer: over the same parameters.

    Raises:
        InputError: no checkpoint there, a file that differs from the manifest, named, or a checkpoint that does not
            fit the model or the optimizer.
    """
    path = check(path)
    names = read_manifest(path)
    with fitting(path):
        tensors = {
            PurePosixPath(name).stem: load_file(path / name)
            for name in names
            if PurePosixPath(name).match("trainer/*.safetensors")
        }
        state = merge_optimizer(optimizer, tensors.pop("optimizer"), path)
        with _listed_files(path, names) as folder:
            load_model(folder)
        optimizer.load_state_dict(state)
    return tensors, read_state(path)


def merge_optimizer(optimizer: torch.optim.Optimizer, values: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """Returns a state for `optimizer` with the values of `optimizer_tensors`.

    Raises:
        InputError: they are those of another kind of optimizer, or of parameters of other shapes.
    """
    state = optimizer.state_dict()
    state["state"] = {}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for name, value in values.items():
        number, key = name.split(".", 1)
        if int(number) >= len(parameters):
            raise InputError(f"{path}: of a training of more parameters than the {len(parameters)} here")
        parameter = parameters[int(number)]
        if value.dim() and value.shape != parameter.shape:
            raise InputError(
                f"{path}: of a model of another shape: {key} of parameter {number} is {tuple(value.shape)}, the "
                f"parameter here {tuple(parameter.shape)}; make the model with the run's options"
            )
        state["state"].setdefault(int(number), {})[key] = sharded_like(value, parameter)
    return state


def read_state(path: str | Path) -> dict[str, Any]:
    """Reads the state of a checkpoint; of its files this one alone is compared with the manifest.

    Raises:
        InputError: no checkpoint there, or a damaged one.
    """
    path = find_whole(Path(path))
    _check_file(path, STATE, read_manifest(path)[STATE])
    with fitting(path):
        return dict(json.loads((path / STATE).read_text()))


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Turns what goes wrong while a checkpoint's numbers are taken, within the context, into an InputError.

    Its files are as they were written, so it is one of another training, or of another version.
    """
    try:
        yield
    except InputError:
        raise
    except MISFITS as error:
        lines = str(error).splitlines() or [""]
        raise InputError(
            f"{path}: does not fit this training ({type(error).__name__}: {lines[-1].strip()[:200]}); make the model "
            "and the training with the run's options, or start anew"
        ) from error


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Returns the state of an optimizer, whole, by the parameter's number and the state's name."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{key}": whole(value) for index, entry in state.items() for key, value in entry.items()}


def check(path: str | Path) -> Path:
    """Returns the folder of a checkpoint after a crash, too; every file of it is as its manifest says.

    Raises:
        InputError: no checkpoint there, a damaged or foreign manifest, or a file that differs from it, named.
    """
    path = find_whole(Path(path))
    for name, digest in read_manifest(path).items():
        _check_file(path, name, digest)
    return path


def read_manifest(path: Path) -> dict[str, str]:
    """Returns the names of a checkpoint's files, relative to it, with their SHA-256.

    Raises:
        InputError: there is none, it is damaged, or a name leads out of the folder.
    """
    if not (path / MANIFEST).is_file():
        raise InputError(f"{path}: no checkpoint here (no {MANIFEST}); expected a folder that save() wrote")
    try:
        manifest = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError, RecursionError):
        manifest = None
    if (
        not isinstance(manifest, dict)
        or STATE not in manifest
        or not all(isinstance(digest, str) and SHA256.fullmatch(digest) for digest in manifest.values())
    ):
        raise InputError(
            f"{path}: {MANIFEST} is damaged; expected names of files with their SHA-256, {STATE} among them; use "
            "another checkpoint"
        )
    for name in manifest:
        if not _is_inside(path, name):
            raise InputError(f"{path}: {MANIFEST} names {name!r:.200}, which leads out of the checkpoint's folder")
    return manifest


def _check_file(path: Path, name: str, digest: str) -> None:
    if not (path / name).is_file() or digest_file(path / name) != digest:
        raise InputError(f"{path}: {name} is missing or damaged; use another checkpoint")


def _is_inside(path: Path, name: str) -> bool:
    try:
        place = PurePosixPath(name)
        is_relative = not place.is_absolute() and ".." not in place.parts
        return is_relative and (path / name).resolve().is_relative_to(path.resolve())
    except (OSError, ValueError, RuntimeError):
        return False


@contextmanager
def _listed_files(path: Path, names: Mapping[str, str]) -> Iterator[Path]:
    """Yields the checkpoint's folder, or where more lies in it, a passing one with links to what the manifest lists."""
    if {file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir()} <= {*names, MANIFEST}:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="textrl-") as folder:
        for name in names:
            link = Path(folder, name)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to((path / name).resolve())
        yield Path(folder)
