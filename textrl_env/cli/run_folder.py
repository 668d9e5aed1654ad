"""The folders of a run, and its small JSON files."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from textrl_env.errors import InputError


def existing(path: Path, *, made_by: str) -> Path:
    """The path, if it is there; else InputError naming the command that makes it."""
    if not path.exists():
        raise InputError(f"{path}: not there yet; make it with: {made_by}")
    return path


Kind = Literal["language model", "reward model"]
ARCHITECTURES: dict[Kind, tuple[str, ...]] = {
    "language model": ("ForCausalLM", "LMHeadModel"), "reward model": ("ForSequenceClassification",),
}  # fmt: skip
"""How transformers' names of their classes end."""


def existing_model(path: Path, *, made_by: str, kind: Kind | None = None) -> Path:
    """The folder, if it holds a model; an interrupted stage leaves a folder without one.

    transformers loads a model of the other kind as well, with a head that was never trained: InputError where `kind`
    is given and the folder is known to hold the other one.
    """
    existing(path / "config.json", made_by=made_by)
    names = read_json(path / "config.json").get("architectures") or []
    for other, endings in ARCHITECTURES.items():
        if kind is not None and other != kind and any(name.endswith(endings) for name in names):
            raise InputError(
                f"{path}: holds a {other} ({', '.join(names)}), expected a {kind}; make it with: {made_by}"
            )
    return path


def policy_folder(path: Path) -> Path:
    """The folder of a causal LM: the path itself, or `policy/` in a run's or a checkpoint's folder."""
    for folder in (path, path / "policy"):
        if (folder / "config.json").is_file():
            return folder
    what = "no model here" if path.is_dir() else "no such folder"
    raise InputError(
        f"{path}: {what}; expected a folder with config.json, or one whose policy/ has it, such as RUN or RUN/sft"
    )


def generation_settings(folder: Path) -> dict[str, Any]:
    """Of a causal LM's folder, as transformers has them; none where there are none."""
    path = folder / "generation_config.json"
    return read_json(path) if path.is_file() else {}


def read_json(path: Path) -> dict[str, Any]:
    """One JSON object; InputError where the file holds none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); run the stage that wrote it again") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected one JSON object; run the stage that wrote it again")
    return value


def options_of(folder: Path) -> dict[str, Any]:
    """The options that the stage of a folder was run with; none where its manifest is missing."""
    manifest = folder / "manifest.json"
    return dict(read_json(manifest).get("config", {})) if manifest.is_file() else {}


def write_json(path: Path, value: Mapping[str, Any]) -> Path:
    """One indented JSON object, NaN refused; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(value), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return path


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """One JSON object a line, NaN refused; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(dict(row), ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")
    return path
