"""Models and tokenizers from a folder that may come from a stranger: nothing in it is run.

Weights are read from safetensors, never unpickled, and Python files that a folder brings along are not imported.
"""

import json
from pathlib import Path
from typing import Any

from textrl_env.errors import InputError


def load_model(kind: Any, folder: str | Path, **options: Any) -> Any:
    """`kind.from_pretrained(folder, **options)`, where `kind` is `AutoModelForCausalLM` or another of transformers.

    Raises:
        InputError: the folder has no weights in safetensors, or only code of its own could load them.
    """
    folder = Path(folder)
    named = _weight_files(folder)
    if not any(folder.glob("*.safetensors")) or not all(
        name.endswith((".safetensors", ".safetensors.index.json")) for name in named
    ):
        raise InputError(
            f"{folder}: the weights must be in safetensors; other formats can run code when they are read. Load the "
            "model where you trust it, and save it with save_pretrained"
        )
    return _without_its_code(kind, folder, use_safetensors=True, **options)


def load_tokenizer(folder: str | Path) -> Any:
    """The tokenizer of a folder; InputError where only code of its own could load it."""
    from transformers import AutoTokenizer

    return _without_its_code(AutoTokenizer, Path(folder))


def load_config(folder: str | Path) -> Any:
    """The configuration of a model's folder; InputError where only code of its own could load it."""
    from transformers import AutoConfig

    return _without_its_code(AutoConfig, Path(folder))


def _weight_files(folder: Path) -> list[str]:
    """The files that the folder's own index and configuration would have read, whatever their format."""
    named: list[str] = []
    for file in (*folder.rglob("*.safetensors.index.json"), folder / "config.json"):
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            named += [*found.get("weight_map", {}).values(), found.get("transformers_weights") or "model.safetensors"]
        except (OSError, ValueError, AttributeError) as error:
            raise InputError(
                f"{file}: cannot be read ({error}); expected a folder that save_pretrained wrote"
            ) from None
    return [str(name) for name in named]


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
