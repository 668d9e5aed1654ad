"""Weights in safetensors: which files they are in, what the headers say, and tensors that are whole and finite."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from textrl_env.errors import InputError
from textrl_env.lm.loading.configs import CONFIG
from textrl_env.lm.loading.folders import named_faults, read_object

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
UNSAFE = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack", ".gguf", ".npz")
FLOATS = ("F64", "F32", "F16", "BF16")
INTEGERS = ("BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64")
ADAPTER = "adapter_config.json"


class Weights:
    """The tensors of a folder's weight files, unread: names, shapes and types come from the headers.

    Attributes:
        slices: by name, as safetensors gives them; `slices[name][:]` reads the tensor.
        files: the file of each name.
    """

    def __init__(self, slices: dict[str, Any], files: dict[str, Path]) -> None:
        self.slices, self.files = slices, files

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of a tensor."""
        return tuple(self.slices[name].get_shape())

    def dtype(self, name: str) -> str:
        """Returns the type of a tensor's numbers, as safetensors calls it: F32, BF16, I64."""
        return str(self.slices[name].get_dtype())

    def n_numbers(self) -> int:
        """Counts the numbers of all tensors."""
        return sum(torch.Size(self.shape(name)).numel() for name in self.slices)


@contextmanager
def open_weights(folder: Path, explicit: str | None) -> Iterator[Weights]:
    """Opens the weight files of a model's folder.

    Args:
        folder: the model's.
        explicit: a file's name instead of `model.safetensors`, which some configurations name.

    Raises:
        InputError: no weights in safetensors, a file that is cut off or none of that format, an index that names
            files that are not there, or numbers of a type that no model here is trained in.
    """
    slices: dict[str, Any] = {}
    files: dict[str, Path] = {}
    handles = []
    for file in _find_files(folder, explicit):
        handles.append(_open(file))
        for name in handles[-1].keys():  # noqa: SIM118 (a handle is no dict)
            if name in slices:
                raise InputError(f"{file}: {name} is in {files[name].name} too; write the model again")
            slices[name], files[name] = handles[-1].get_slice(name), file
    weights = Weights(slices, files)
    for name in slices:
        if weights.dtype(name) not in (*FLOATS, *INTEGERS):
            raise InputError(
                f"{files[name]}: {name} is {weights.dtype(name)}, a quantised type; take the model as it was before"
            )
    yield weights


def read_tensors(file: str | Path) -> dict[str, Tensor]:
    """Reads a safetensors file.

    Raises:
        InputError: it is not there, is cut off, or holds NaN or Inf.
    """
    file = Path(file)
    with named_faults(file, "cannot be read"):
        handle = _open(file)
        tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    require_finite_tensors(tensors.items(), lambda name: file)
    return tensors


def require_finite_tensors(tensors: Iterable[tuple[str, Tensor]], file_of: Any) -> None:
    """Raises InputError that names the first tensor with NaN or Inf, and its file; one pass, no copy.

    Args:
        tensors: with their names.
        file_of: from a name to the file it came from.
    """
    for name, tensor in tensors:
        if tensor.is_floating_point() and tensor.numel():
            low, high = torch.aminmax(tensor.detach())
            if not (torch.isfinite(low) and torch.isfinite(high)):
                raise InputError(f"{file_of(name)}: {name} holds NaN or Inf; the training that wrote it had diverged")


def _open(file: Path) -> Any:
    with named_faults(file, "is cut off, or no safetensors file"):
        if not file.is_file():
            raise InputError(f"{file}: not there; the folder is incomplete, write or fetch the model again")
        return safe_open(file, framework="pt")


def _find_files(folder: Path, explicit: str | None) -> list[Path]:
    """Lists the files of a folder's weights, by the configuration, the usual name or an index."""
    if (folder / ADAPTER).exists():
        raise InputError(
            f"{folder}: holds an adapter ({ADAPTER}), no whole model; put it on its base and save the merged model, "
            "as peft's merge_and_unload does"
        )
    if explicit is not None:
        is_index = explicit.endswith(INDEX.removeprefix("model")) and Path(explicit).name == explicit
        return _files_of_index(folder / explicit) if is_index else _shards(folder / CONFIG, [explicit])
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    if (folder / INDEX).exists():
        return _files_of_index(folder / INDEX)
    if any(file.suffix in UNSAFE for file in folder.iterdir()):
        raise _not_safetensors(folder)
    raise InputError(f"{folder}: no weights here (no {WEIGHTS}); the folder is incomplete, write the model again")


def _files_of_index(index: Path) -> list[Path]:
    """Lists the files that an index of shards names, each once."""
    names = read_object(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise InputError(f"{index}: cannot be read (no weight_map); write or fetch the model again")
    return _shards(index, sorted({str(name) for name in names.values()}))


def _shards(source: Path, names: list[str]) -> list[Path]:
    """Returns the weight files that a JSON file names, once they are safetensors of its own folder."""
    for name in names:
        if Path(name).name != name:
            raise InputError(f"{source}: names {name!r:.80}, outside of the folder; write or fetch the model again")
        if not name.endswith(".safetensors"):
            raise _not_safetensors(source.parent)
    return [source.parent / name for name in names]


def _not_safetensors(folder: Path) -> InputError:
    return InputError(
        f"{folder}: the weights must be in safetensors; other formats can run code when they are read. Load the "
        "model where you trust it, and save it with save_pretrained"
    )
