"""The files of a run's folder, and what is asked of models before a stage starts."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from textrl_env.data import OnBadRow, PromptDataset, PromptIds
from textrl_env.data.rows import collect
from textrl_env.errors import InputError
from textrl_env.files import find_whole, write_text
from textrl_env.lm import context_length, load_config, load_tokenizer, resolve_model
from textrl_env.lm.loading import read_object

ModelKind = Literal["language model", "reward model"]
ARCHITECTURES: dict[ModelKind, tuple[str, ...]] = {
    "language model": ("ForCausalLM", "LMHeadModel"),
    "reward model": ("ForSequenceClassification",),
}
"""How transformers' names of their classes end."""


def require_path(path: Path, *, made_by: str) -> Path:
    """Returns the path if it is there; else raises InputError naming the command that makes it."""
    if not path.exists():
        raise InputError(f"{path}: not there yet; make it with: {made_by}")
    return path


def require_model(
    model: Path | None, default: Path | None = None, *, made_by: str, kind: ModelKind | None = None
) -> Path:
    """Returns the folder of a model that is there; an interrupted stage leaves a folder without one.

    Args:
        model: the user's: a folder, or a hub id, which is fetched. None takes the default.
        default: the run's own.
        made_by: the command that makes it, for the message.
        kind: the kind that is needed. transformers loads a model of the other kind as well, with a head that was never
            trained.

    Raises:
        InputError: nothing is there, the hub has no such model, or it is known to be of the other kind.
    """
    folder = default and find_whole(default) if model is None else resolve_model(model)
    if folder is None:
        raise TypeError("require_model() takes a model or a default")
    require_path(folder / "config.json", made_by=made_by)
    names = read_object(folder / "config.json").get("architectures") or []
    names = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    for actual, endings in ARCHITECTURES.items():
        if kind is not None and actual != kind and any(name.endswith(endings) for name in names):
            raise InputError(
                f"{folder}: holds a {actual} ({', '.join(names)}), expected a {kind}; make it with: {made_by}"
            )
    return folder


def require_start(model: Path | None, run_dir: Path, *, own_data: bool, kind: ModelKind | None = None) -> Path:
    """Returns the folder of the model that training starts from: the user's, or RUN/sft.

    Args:
        model: the user's, if any.
        run_dir: the run's folder.
        own_data: the user's data are trained on; the command in the message then speaks of their demonstrations.
        kind: as for `require_model`.
    """
    command = f"textrl sft --run-dir {run_dir}" + (" --demonstrations YOURS.jsonl" if own_data else "")
    return require_model(model, run_dir / "sft", made_by=command, kind=kind)


def find_policy(model: Path) -> Path:
    """Returns the folder of a causal LM: a hub id's, the folder itself, or `policy/` in a run's or checkpoint's."""
    path = resolve_model(model)
    for folder in (path, path / "policy"):
        if (folder / "config.json").is_file():
            return folder
    fault = "no model here" if path.is_dir() else "no such folder"
    raise InputError(
        f"{path}: {fault}; expected a folder with config.json, or one whose policy/ has it, such as RUN or RUN/sft"
    )


def encode_fitting_prompts(
    model: Path,
    prompts: PromptDataset,
    *,
    max_new_tokens: int,
    tokenizer: Any = None,
    on_bad_row: OnBadRow = "error",
) -> PromptIds:
    """Returns prompts as token ids once each is known to fit, with a completion, the context of a model.

    Args:
        model: the model's folder.
        prompts: all of them are encoded.
        max_new_tokens: most tokens of a completion.
        tokenizer: of the model; loaded from its folder by default.
        on_bad_row: `"skip"` leaves out prompts that do not fit, with a warning; those that do are the result's dataset.

    Raises:
        InputError: an option leaves no room for a prompt, or (with `"error"`) prompts are too long; they are named.
    """
    context = context_length(load_config(model))
    room = None if context is None else context - max_new_tokens
    if room is not None and room < 1:
        raise InputError(
            f"max_new_tokens {max_new_tokens} leaves no room for a prompt: the context of {model} is {context} tokens"
        )
    tokenizer = tokenizer or load_tokenizer(model)
    try:
        return PromptIds(prompts, tokenizer, room=room)
    except InputError:

        def encode(row: int) -> int:
            next(prompts.encode(tokenizer, max_prompt_tokens=room, rows=[row]))
            return row

        # All that do not fit are counted, and named or left out.
        items = zip(prompts.where, range(len(prompts)), strict=True)
        fitting = collect(items, encode, source="prompts", on_bad_row=on_bad_row)
        return PromptIds(prompts.select(fitting), tokenizer, room=room)


def read_json(path: Path) -> dict[str, Any]:
    """Returns the JSON object of a file; raises InputError where it holds none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); run the stage that wrote it again") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected one JSON object; run the stage that wrote it again")
    return value


def write_json(path: Path, value: Mapping[str, Any]) -> Path:
    """Writes one indented JSON object, NaN refused, whole or not at all; returns the path."""
    return write_text(path, json.dumps(dict(value), indent=1, allow_nan=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Writes one JSON object a line, NaN refused, all of them or none; returns the path."""
    lines = (json.dumps(dict(row), ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    return write_text(path, "".join(lines))
