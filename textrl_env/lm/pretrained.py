"""Models and tokenizers from a folder, or from the Hugging Face hub, that may come from a stranger: nothing is run.

Weights are read from safetensors, never unpickled, and Python files that a folder brings along are not imported.
"""

import json
import re
from pathlib import Path
from typing import Any

from textrl_env.errors import InputError

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
HUB_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
"""Files of a hub's model that are fetched: weights, configuration, tokenizer; nothing that could be run."""


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


def load_model(kind: Any, folder: str | Path, **options: Any) -> Any:
    """Returns `kind.from_pretrained(folder, **options)`.

    Args:
        kind: `AutoModelForCausalLM` or another of transformers.
        folder: the model's folder or its hub id, see `resolve_model`.
        options: of `from_pretrained`.

    Raises:
        InputError: the folder has no weights in safetensors, or only code of its own could load them.
    """
    folder = resolve_model(folder)
    files = _weight_files(folder)
    if not any(folder.glob("*.safetensors")) or not all(
        name.endswith((".safetensors", ".safetensors.index.json")) for name in files
    ):
        raise InputError(
            f"{folder}: the weights must be in safetensors; other formats can run code when they are read. Load the "
            "model where you trust it, and save it with save_pretrained"
        )
    return _without_its_code(kind, folder, use_safetensors=True, **options)


def load_tokenizer(folder: str | Path) -> Any:
    """Loads the tokenizer of a folder or hub id; InputError where only code of its own could load it."""
    from transformers import AutoTokenizer

    return _without_its_code(AutoTokenizer, resolve_model(folder))


def load_config(folder: str | Path) -> Any:
    """Loads the configuration of a model's folder or hub id; InputError where only code of its own could load it."""
    from transformers import AutoConfig

    return _without_its_code(AutoConfig, resolve_model(folder))


def _weight_files(folder: Path) -> list[str]:
    """Lists the files that the folder's own index and configuration would have read, whatever their format."""
    names: list[str] = []
    for file in (*folder.rglob("*.safetensors.index.json"), folder / "config.json"):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            names += content.get("weight_map", {}).values()
            names.append(content.get("transformers_weights") or "model.safetensors")
        except (OSError, ValueError, AttributeError) as error:
            raise InputError(
                f"{file}: cannot be read ({error}); expected a folder that save_pretrained wrote"
            ) from None
    return [str(name) for name in names]


def _without_its_code(kind: Any, folder: Path, **options: Any) -> Any:
    try:
        # Left out, transformers asks at the terminal whether to run the code.
        return kind.from_pretrained(folder, trust_remote_code=False, **options)
    except ValueError as error:
        if "trust_remote_code" not in str(error):
            raise
        raise InputError(
            f"{folder}: can only be loaded by code of its own, which is not run; use a model that transformers knows"
        ) from None
