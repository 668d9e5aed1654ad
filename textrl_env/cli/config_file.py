"""A command's options in a YAML file: read, checked against the options' types, and written."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from textrl_env.cli.optional import Switch
from textrl_env.cli.run_options import RunOptions
from textrl_env.errors import InputError


def with_config_files(arguments: Sequence[str], commands: Mapping[str, Any]) -> list[str]:
    """The command line with the options of its `--config` files put in front of its own, which so win over them.

    Args:
        arguments: the command's name first.
        commands: the dataclass of every command, by name.

    Raises:
        InputError: a file that is not there or no YAML mapping, an unknown key, a value of a wrong type; named.
    """
    if not arguments or arguments[0] not in commands:
        return list(arguments)
    name, *own = arguments
    files = [value for option, value in pairwise(own) if option == "--config"]
    files += [option.removeprefix("--config=") for option in own if option.startswith("--config=")]
    if not files:
        return list(arguments)
    options = {option: kind for option, kind, _ in _options(commands[name])}
    return [name, *(argument for file in files for argument in _arguments(Path(file), options)), *own]


def as_yaml(command: Any) -> str:
    """The options of a command, defaults and all, as a file for `--config`."""
    nested: dict[str, Any] = {}
    for option, kind, value in _options(type(command), command):
        *groups, last = option.split(".")
        place = nested
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = float(value) if kind is float else _plain(value)
    text: str = yaml.safe_dump(nested, sort_keys=False, allow_unicode=True)
    return text


def _options(command: Any, instance: Any = None, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Name, type and (of an instance) value of every option, groups joined with dots."""
    command, of_stage = (get_origin(command) or command), get_args(command)
    hints = get_type_hints(command, include_extras=True)
    for field in fields(command):
        value = None if instance is None else getattr(instance, field.name)
        kind, *marks = (
            get_args(hints[field.name]) if get_origin(hints[field.name]) is Annotated else [hints[field.name]]
        )
        if field.name == "stage":
            kind = of_stage[0] if of_stage else type(value)
        if hints[field.name] == Switch:
            kind = Switch
        if kind is RunOptions:
            continue
        if is_dataclass(kind):
            # tyro takes an empty name as: the group's options stand among its owner's.
            inline = any(getattr(mark, "name", None) == "" for mark in marks)
            yield from _options(kind, value, prefix if inline else f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", kind, value


def _arguments(file: Path, options: Mapping[str, Any]) -> Iterator[str]:
    """A file's options as command line arguments."""
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file}: cannot read the config ({error.strerror}); expected a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise InputError(f"{file}: expected options and values, one `option: value` a line, got {values!r:.60}")
    for option, value in _flat(values):
        if option not in options:
            near = get_close_matches(option, options, n=3)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"options are {', '.join(options)}"
            raise InputError(f"{file}: no option {option!r}; {hint}")
        fits, expected = _expected(options[option])
        if not fits(value):
            raise InputError(f"{file}: {option} must be {expected}, got {value!r:.60}")
        # A switch that is off has no form of its own on the command line.
        if value is not False or options[option] != Switch:
            yield from _as_arguments(option.replace("_", "-"), value)


def _flat(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{prefix}{str(key).replace('-', '_')}"
        if isinstance(value, dict):
            yield from _flat(value, f"{name}.")
        else:
            yield name, value


def _as_arguments(option: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        *groups, last = option.split(".")
        return [f"--{'.'.join([*groups, last if value else f'no-{last}'])}"]
    return [f"--{option}", *map(str, value if isinstance(value, list) else [value])]


def _expected(kind: Any) -> tuple[Callable[[Any], bool], str]:
    """Whether a value is of an option's type, and the type in words."""
    origin, parts = get_origin(kind) or kind, get_args(kind)
    if origin is Annotated:
        return _expected(parts[0])
    if origin is Literal:
        return lambda value: value in parts, f"one of {', '.join(map(repr, parts))}"
    if origin in (UnionType, Union):
        checks, names = zip(*map(_expected, parts), strict=True)
        return lambda value: any(check(value) for check in checks), " or ".join(names)
    if origin in (list, tuple, Sequence):
        check, name = _expected(parts[0])
        return lambda value: isinstance(value, list) and all(map(check, value)), f"a list, each {name}"
    return SCALARS[origin]


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        # YAML 1.1 takes 1e-3, without a point, for a text.
        try:
            float(value)
        except ValueError:
            return False
        return True
    return isinstance(value, int | float) and not isinstance(value, bool)


SCALARS: dict[Any, tuple[Callable[[Any], bool], str]] = {
    int: (lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number"),
    float: (_is_number, "a number"),
    bool: (lambda value: isinstance(value, bool), "true or false"),
    str: (lambda value: isinstance(value, str), "a text"),
    Path: (lambda value: isinstance(value, str), "a path"),
    NoneType: (lambda value: value is None, "null"),
}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value
