"""A command's options in a YAML file: read into the default instance that tyro takes, and written."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from textrl_env.cli.option_forms import FLAT
from textrl_env.cli.yaml_file import read_yaml
from textrl_env.errors import InputError
from textrl_env.pipeline.option_paths import InputFile, check_paths

AnyCommand = TypeVar("AnyCommand")
Place = tuple[str, ...]
"""Names of the fields from a command down to an option."""
WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    Path: "a path",
    NoneType: "null",
}


@dataclass(frozen=True)
class RunOptions:
    """Options that every stage's command has besides its own."""

    config: InputFile | None = None
    """YAML with options; the command line wins over it."""
    print_config: bool = False
    """Print the options in effect as YAML, and end."""
    dry_run: bool = False
    """Try it tiny, measure memory, estimate time, and end."""


@dataclass(frozen=True)
class Option:
    """An option of a command: its place, its type and its value."""

    place: Place
    kind: Any
    value: Any


def find_config_files(arguments: Sequence[str]) -> list[Path]:
    """Returns the files that `--config` names, in order."""
    files = [value for option, value in pairwise(arguments) if option == "--config"]
    files += [option.removeprefix("--config=") for option in arguments if option.startswith("--config=")]
    return [Path(file) for file in files]


def read_config(command: AnyCommand, file: Path) -> AnyCommand:
    """Returns a command with the options of a YAML file in the place of its own.

    Raises:
        InputError: a file that is not there or no YAML mapping, an unknown key, a value of a wrong type or out of
            range; named with its line.
    """
    check_paths(RunOptions(config=file))
    options, lines = dict(_walk(command)), dict[str, int]()
    values: dict[Place, Any] = {}
    for entry in read_yaml(file):
        name, place = entry.name, f"{file}:{entry.line}"
        if name not in options:
            near = get_close_matches(name, options, n=3)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"options are {', '.join(options)}"
            raise InputError(f"{place}: no option {name!r:.60}; {hint}")
        option = options[name]
        try:
            values[option.place] = _convert(entry.value, option.kind)
        except ValueError:
            raise InputError(f"{place}: {name} must be {_describe(option.kind)}, got {entry.value!r:.60}") from None
        lines[option.place[-1]] = entry.line
    try:
        return _replace_values(command, values)
    except InputError as error:
        line = lines.get(str(error).partition(" ")[0])
        raise InputError(f"{file}:{line}: {error}" if line else f"{file}: {error}") from None


def as_yaml(command: Any) -> str:
    """Returns the options of a command, defaults and all, as a file for `--config`."""
    tree: dict[str, Any] = {}
    for name, option in _walk(command):
        *groups, last = name.split(".")
        mapping = tree
        for group in groups:
            mapping = mapping.setdefault(group, {})
        mapping[last] = float(option.value) if option.kind is float else _as_plain(option.value)
    text: str = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
    return text


def _walk(instance: Any, place: Place = (), prefix: str = "") -> Iterator[tuple[str, Option]]:
    """Yields every option by its name, groups joined with dots as on the command line."""
    hints = get_type_hints(type(instance))
    for field in fields(instance):
        value, inner = getattr(instance, field.name), (*place, field.name)
        if is_dataclass(value):
            if not isinstance(value, RunOptions):
                yield from _walk(value, inner, prefix if field.name in FLAT else f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", Option(inner, hints[field.name], value)


def _replace_values(instance: AnyCommand, values: Mapping[Place, Any]) -> AnyCommand:
    """Returns an instance with the values in their places; all of a group's at once, as they may need each other."""
    changes = {place[0]: value for place, value in values.items() if len(place) == 1}
    for group in {place[0] for place in values if len(place) > 1}:
        inner = {place[1:]: value for place, value in values.items() if place[0] == group}
        changes[group] = _replace_values(getattr(instance, group), inner)
    return replace(instance, **changes)  # type: ignore[type-var]


def _convert(value: Any, kind: Any) -> Any:
    """Returns a value of YAML as an option's type wants it; raises ValueError where it is of another."""
    origin, parts = get_origin(kind) or kind, get_args(kind)
    if origin in (UnionType, Union):
        for part in parts:
            with suppress(ValueError):
                return _convert(value, part)
    elif origin is Literal and value in parts:
        return value
    elif origin is tuple and isinstance(value, list):
        return tuple(_convert(item, parts[0]) for item in value)
    elif origin is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        # YAML 1.1 takes 1e-3, without a point, for a text.
        return float(value)
    elif origin is Path and isinstance(value, str):
        return Path(value)
    elif origin in (int, bool, str, NoneType) and type(value) is origin:
        return value
    raise ValueError


def _describe(kind: Any) -> str:
    """Returns an option's type in words."""
    origin, parts = get_origin(kind) or kind, get_args(kind)
    if origin is Literal:
        return f"one of {', '.join(map(repr, parts))}"
    if origin in (UnionType, Union):
        return " or ".join(map(_describe, parts))
    return f"a list, each {_describe(parts[0])}" if origin is tuple else WORDS[origin]


def _as_plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_as_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
