"""Folders of models: where they are, what they hold, their JSON files, and faults that name the file."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from textrl_env.errors import InputError

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
HUB_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
"""Files of a hub's model that are fetched: weights, configuration, tokenizer; nothing that could be run."""
EXPECTED = "expected a folder that save_pretrained wrote"
N_JSON_BYTES = 2**28
"""Largest JSON file that is read; the largest vocabularies have a fifth of it."""


def resolve_model(name: str | Path) -> Path:
    """Returns the folder of a model; one of the Hugging Face hub, `org/name`, is fetched into the hub's own cache.

    A path that is there, or whose folder is there, is a path; so is everything that no hub id looks like. Such a path
    is returned as it is, whether or not it holds a model.

    Args:
        name: a folder, or a hub id.

    Raises:
        InputError: the hub has no such model that may be read, or it could not be reached.
    """
    path = Path(name)
    with named_faults(str(name), "no path that could be a model's folder"):
        if path.exists() or path.parent.is_dir() or not HUB_ID.fullmatch(str(name)):
            return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return Path(snapshot_download(str(name), allow_patterns=list(HUB_FILES), ignore_patterns=["*/*"]))
    except RepositoryNotFoundError as error:
        raise InputError(
            f"{name}: no such folder here, and the Hugging Face hub shows no such model; check the name, log in with "
            "'hf auth login' where it asks for that, or give a folder"
        ) from error
    except Exception as error:  # Each version of the hub's client has exceptions of its own for a missing network.
        raise InputError(
            f"{name}: no such folder here, and the Hugging Face hub could not be reached to fetch a model of that name "
            f"({type(error).__name__}); give the folder of a model, such as one that save_pretrained wrote"
        ) from error


def require_folder(name: str | Path) -> Path:
    """Returns the folder of a model, as `resolve_model` does, once it is known to be one that can be read.

    Raises:
        InputError: nothing is there, or a file, an empty folder, one that may not be read, or one with a pipe or a
            device in a file's place, which reading would wait for.
    """
    folder = resolve_model(name)
    with named_faults(folder, "cannot be read"):
        if not folder.is_dir():
            fault = "it is a file" if folder.exists() else "no such folder"
            raise InputError(f"{folder}: no model here ({fault}); {EXPECTED}")
        entries = sorted(folder.iterdir())
        if not entries:
            raise InputError(f"{folder}: no model here (it is empty); {EXPECTED}")
        for entry in entries:
            if entry.exists() and not (entry.is_file() or entry.is_dir()):
                raise InputError(f"{entry}: is neither a file nor a folder; remove it")
    return folder


def read_object(file: Path) -> dict[str, Any]:
    """Reads the JSON object in a file; InputError, which names the file, where it holds none."""
    with named_faults(file, "cannot be read"):
        if not file.is_file():
            raise InputError(f"{file}: no such file; {EXPECTED}")
        if file.stat().st_size > N_JSON_BYTES:
            raise InputError(f"{file}: has {file.stat().st_size:,} bytes, more than any that is read; {EXPECTED}")
        value = json.loads(file.read_text(encoding="utf-8-sig"))
        if not isinstance(value, dict):
            raise InputError(f"{file}: cannot be read (a JSON {type(value).__name__}, no object); {EXPECTED}")
        return value


@contextmanager
def named_faults(place: str | Path, fault: str) -> Iterator[None]:
    """Turns whatever a library raises within the context into an InputError of one line; the cause is chained.

    Args:
        place: the folder or file that is read.
        fault: what it then is, "cannot be read" for instance.
    """
    try:
        yield
    except InputError:
        raise
    except BaseException as error:
        # A panic of the tokenizers library, which is written in Rust, is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise InputError(f"{place}: {fault} ({describe(error)}); {EXPECTED}") from error


def describe(error: BaseException) -> str:
    """Renders an exception on one line of at most 300 characters: its type, and what it says."""
    text = " ".join(str(error).split())
    text = text if len(text) <= 240 else f"{text[:240]} …"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
