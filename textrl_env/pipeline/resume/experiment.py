"""The experiment that a stage is, by name and value or content: what `--resume` compares before it goes on."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from textrl_env.files import digest_file, digest_model

FREE = ("checkpoints", "watch_every", "allow_failed_reward_model")
"""Options, and groups of them, that do not touch what is trained, and may change from one part of a run to the next."""


def describe_experiment(
    options: Any,
    seed: int,
    *,
    files: Mapping[str, Path | None] | None = None,
    models: Mapping[str, Path | None] | None = None,
) -> dict[str, Any]:
    """Returns what decides the course of a stage's training, for JSON.

    Args:
        options: of the stage, a dataclass with `folder`; those in `FREE` are left out.
        seed: of everything random.
        files: of data, by the name of the option; their content counts, not their place. None stands for built-in
            data, which options and seed decide.
        models: folders of models, by the name of the option; the files that decide what they say count. None stands
            for no model.

    Raises:
        OSError: a file cannot be read.
    """
    experiment: dict[str, Any] = {"stage": options.folder, "seed": seed}
    experiment |= dict(_flatten(asdict(options)))
    for name, file in (files or {}).items():
        experiment[name] = file and {"sha256": digest_file(file), "file": str(file)}
    for name, folder in (models or {}).items():
        experiment[name] = None
        if folder is not None:
            del experiment[name]
            experiment |= {
                f"{name}/{file}": {"sha256": digest, "file": str(folder / file)}
                for file, digest in digest_model(folder).items()
            }
    return experiment


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields options by name, groups joined with dots as on the command line."""
    for name, value in values.items():
        if name in FREE:
            continue
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value) if isinstance(value, Path) else value
