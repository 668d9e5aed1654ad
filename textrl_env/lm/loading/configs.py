"""Configurations of models and of sampling: JSON of which only numbers and names are believed.

transformers reads no file of the folder itself. It is handed a copy of `config.json` without the entries that choose
code: a class in the folder, an attention kernel of the hub, a way to store weights.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from textrl_env.errors import InputError
from textrl_env.lm.loading.folders import EXPECTED, named_faults, read_object, require_folder

CONFIG, GENERATION_CONFIG = "config.json", "generation_config.json"
STEERING = re.compile(
    r"auto_map|fusion_config|(use_)?kernels?(_config)?|distributed_config|torchscript|(use_)?return_dict"
    r"|_?(attn|experts)_implementation(_internal)?"
)
"""Entries that choose code or another kind of output; they are left out."""
DTYPES = ("float32", "bfloat16", "float16", "float64")
SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")
N_PARTS = 10_000
"""Most layers, or experts, of a model: each is an object in memory before a weight is read."""


def load_config(folder: str | Path) -> Any:
    """Loads the configuration of a model's folder or hub id, for an architecture that transformers knows.

    Raises:
        InputError: no configuration, a damaged one, an architecture that transformers does not know, numbers that no
            model can have, or quantised weights.
    """
    folder = require_folder(folder)
    values = read_config(folder)
    file = folder / CONFIG
    if not knows_architecture(values):
        raise _unknown_architecture(folder, values)

    from transformers import AutoConfig

    with named_faults(file, "does not fit its architecture"):
        for path, value in _entries(values):
            _check_entry(file, path, value)
        with _alone(CONFIG, _without_steering(values)) as copy:
            config = AutoConfig.from_pretrained(copy, trust_remote_code=False, local_files_only=True)
        text_config = config.get_text_config()
        for name in SIZES:
            size = getattr(text_config, name, None)
            if isinstance(size, int) and size < 1:
                raise InputError(f"{file}: {name} must be at least 1, got {size}; {EXPECTED}")
    config.name_or_path = str(folder)
    return config


def load_generation_config(folder: str | Path) -> Any:
    """Loads how a model of a folder is sampled: `generation_config.json`, else what old models have in `config.json`.

    Raises:
        InputError: the file is damaged.
    """
    from transformers import GenerationConfig

    folder = require_folder(folder)
    file = folder / GENERATION_CONFIG
    is_old = not file.exists()
    values = read_config(folder) if is_old else read_object(file)
    source = folder / CONFIG if is_old else file
    with named_faults(source, "holds no settings of sampling"), _alone(GENERATION_CONFIG, values) as copy:
        origin = {"_from_model_config": True} if is_old else {}
        return GenerationConfig.from_pretrained(copy, local_files_only=True, **origin)


def read_config(folder: Path) -> dict[str, Any]:
    """Reads `config.json` as it is; InputError where there is none, or it holds no object."""
    if not (folder / CONFIG).exists():
        raise InputError(f"{folder}: no model here (no {CONFIG}); {EXPECTED}")
    return read_object(folder / CONFIG)


def knows_architecture(values: dict[str, Any]) -> bool:
    """Says whether transformers itself knows the `model_type` of a configuration."""
    from transformers import CONFIG_MAPPING

    model_type = values.get("model_type")
    return isinstance(model_type, str) and model_type in CONFIG_MAPPING


def _unknown_architecture(folder: Path, values: dict[str, Any]) -> InputError:
    import transformers

    if "auto_map" in values:
        return InputError(
            f"{folder}: can only be loaded by code of its own, which is not run; use a model that transformers knows"
        )
    return InputError(
        f"{folder / CONFIG}: model_type {values.get('model_type')!r:.60} is no architecture of transformers "
        f"{transformers.__version__}; {EXPECTED}"
    )


def _check_entry(file: Path, path: str, value: Any) -> None:
    """Raises InputError where an entry asks for what no model of ours has; `path` is its place, `text_config.dtype`."""
    name = path.rpartition(".")[2]
    if name in ("quantization_config", "compression_config") and value:
        raise InputError(f"{file}: the weights are quantised ({path}); take the model as it was before, in float")
    names_dtype = name in ("dtype", "torch_dtype") and value is not None
    if names_dtype and str(value).removeprefix("torch.") not in (*DTYPES, "auto"):
        raise InputError(f"{file}: {path} must be one of {', '.join(DTYPES)}, got {value!r:.60}")
    if re.search(r"(layer|block|expert)s?$", name) and isinstance(value, int) and value > N_PARTS:
        raise InputError(f"{file}: {path} is {value}, more than any model has; {EXPECTED}")


def _entries(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every entry of nested objects with its path."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in items:
        inner = f"{path}.{name}" if path else str(name)
        yield inner, part
        yield from _entries(part, inner)


def _without_steering(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_steering(part) for name, part in value.items() if not STEERING.fullmatch(name)}
    return [_without_steering(part) for part in value] if isinstance(value, list) else value


@contextmanager
def _alone(name: str, values: dict[str, Any]) -> Iterator[str]:
    """Writes a JSON file into a folder of its own, where transformers finds nothing else, for as long as needed."""
    with TemporaryDirectory() as folder:
        (Path(folder) / name).write_text(json.dumps(values), encoding="utf-8")
        yield folder
