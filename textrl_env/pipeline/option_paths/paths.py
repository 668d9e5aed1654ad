"""Paths among options: what each is for, by its type; all those of a dataclass of options."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

from textrl_env.errors import InputError


@dataclass(frozen=True)
class PathUse:
    """The use of a path: written or read, a file or a folder."""

    writes: bool
    is_file: bool


InputFile = Annotated[Path, PathUse(writes=False, is_file=True)]
"""An option's type: a file with rows, texts or options. A plain `Path` is a model's or a run's folder to read."""
OutputFile = Annotated[Path, PathUse(writes=True, is_file=True)]
"""An option's type: a file to write, with the folders above it."""
OutputFolder = Annotated[Path, PathUse(writes=True, is_file=False)]
"""An option's type: a folder to write to."""

INPUT_FOLDER = PathUse(writes=False, is_file=False)


@dataclass(frozen=True)
class OptionPath:
    """A path that was given by an option."""

    option: str
    path: Path
    use: PathUse

    def refuse(self, fault: str) -> InputError:
        """Makes the error that says what is wrong with the path."""
        return InputError(f"{self.option}: {show_path(self.path)}: {fault}")


def list_paths(options: Any) -> Iterator[OptionPath]:
    """Yields every path that is set in a dataclass of options and its groups, by the name of its field."""
    hints = get_type_hints(type(options), include_extras=True)
    for field in fields(options):
        value = getattr(options, field.name)
        if is_dataclass(value):
            yield from list_paths(value)
        for path in value if isinstance(value, tuple) else (value,):
            if isinstance(path, Path):
                yield OptionPath(field.name, path, _find_use(hints[field.name]) or INPUT_FOLDER)


def show_path(path: Path) -> str:
    """Returns a path as it can stand in a line: what does not print escaped, a very long one cut."""
    text = str(path)
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= 200 else f"{text[:100]}...{text[-60:]}"


def _find_use(kind: Any) -> PathUse | None:
    """Returns the use that an option's type states, through unions and tuples."""
    for part in get_args(kind):
        use = part if isinstance(part, PathUse) else _find_use(part)
        if use is not None:
            return use
    return None
