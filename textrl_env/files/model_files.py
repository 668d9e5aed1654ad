"""The files of a model's folder: replaced together when the model is, and digested to tell one model from another."""

from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from textrl_env.files.whole import digest_file, replacing

MODEL_FILES = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.jinja",
    "adapter_config.json",
)
"""Patterns of the files that decide what a model says: weights, configuration, tokenizer."""
BESIDE = ("adapter", "additional_chat_templates", "README.md", "metrics.json", "manifest.json")
"""Entries beside them that speak of the same weights, and go with them."""


@contextmanager
def exporting(folder: str | Path) -> Iterator[Path]:
    """Yields an empty folder for a model; when the context ends well the model is in `folder`, whole.

    A model that was there before is replaced, all its files with it. What else lies there, such as checkpoints and
    logs, stays.

    Raises:
        InputError: it cannot be written; what was there before is still there.
    """
    with replacing(folder, drop=(*MODEL_FILES, *BESIDE)) as new:
        yield new


def digest_model(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of each file that decides what the model in a folder says, by name."""
    names = sorted(
        path.name
        for path in folder.iterdir()
        if path.is_file() and any(fnmatch(path.name, pattern) for pattern in MODEL_FILES)
    )
    return {name: digest_file(folder / name) for name in names}
