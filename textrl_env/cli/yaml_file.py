"""A file of options in YAML, read to names and values with the lines they stand in; its faults are named by line.

PyYAML's own reading takes the last of two equal keys, follows aliases into themselves, reads 010 as 8, and does not say
where a value stood.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from textrl_env.errors import InputError

MAX_BYTES = 1_000_000
"""A file of options has a hundred lines; a large one is something else."""
PLAIN = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
MERGE = "tag:yaml.org,2002:merge"
BASE_TRAP = re.compile(r"[-+]?0[0-7_]+|[-+]?[0-9][0-9_]*(:[0-9]+)+(\.[0-9_]*)?")
"""Numbers that YAML reads to base 8 or 60 and people to base 10."""


@dataclass(frozen=True)
class YamlValue:
    """A value, the option's name with its groups joined by dots, and the line of the name, from 1."""

    name: str
    value: Any
    line: int


def read_yaml(file: Path) -> list[YamlValue]:
    """Reads the options of a file.

    Raises:
        InputError: what is no YAML or no mapping of options to values, a key or an option twice, an alias of more than
            a single value, a tag of Python's, too large a file; with its line.
    """
    text = _read_text(file)
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            value = "nothing" if root is None else "a list" if root.id == "sequence" else f"{root.value!r:.60}"
            raise InputError(f"{file}: expected options and values, one `option: value` a line, got {value}")
        values = list(_NodeReader(file, loader).read_mapping(root, ""))
    except yaml.YAMLError as error:
        raise InputError(f"{file}{_find_line(error, text)}: not YAML: {_shorten(error)}") from None
    except RecursionError:
        raise InputError(f"{file}: not YAML of options: nested too deep") from None
    lines: dict[str, int] = {}
    for entry in values:
        if entry.name in lines:
            raise _make_double(file, entry.name, entry.line, lines[entry.name])
        lines[entry.name] = entry.line
    return values


class _NodeReader:
    """Walks over the nodes of a document."""

    def __init__(self, file: Path, loader: yaml.SafeLoader) -> None:
        self.file, self.loader = file, loader
        self._visited: set[int] = set()

    def read_mapping(self, mapping: yaml.MappingNode, prefix: str) -> Iterator[YamlValue]:
        """Yields the values of a mapping and of those in it."""
        self._visit(mapping)
        lines: dict[str, int] = {}
        for key, node in mapping.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag == MERGE:
                raise self._fault(line, "expected an option's name before the colon")
            name = f"{prefix}{key.value.replace('-', '_')}"
            if name in lines:
                raise _make_double(self.file, name, line, lines[name])
            lines[name] = line
            if isinstance(node, yaml.MappingNode):
                yield from self.read_mapping(node, f"{name}.")
            else:
                yield YamlValue(name, self._construct(node, name, line), line)

    def _construct(self, node: yaml.Node, name: str, line: int) -> Any:
        if isinstance(node, yaml.ScalarNode):
            if node.tag.rpartition(":")[2] in ("int", "float") and BASE_TRAP.fullmatch(node.value):
                raise self._fault(line, f"{name}: YAML reads {node.value} to base 8 or 60; write a decimal number")
            # Such as a date that there is not, or a number of five thousand digits.
            with suppress(ValueError):
                return self.loader.construct_object(node, deep=True)
            raise self._fault(line, f"{name}: {node.value!r:.60} cannot be read")
        self._visit(node)
        if isinstance(node, yaml.SequenceNode):
            return [self._construct(item, name, line) for item in node.value]
        raise self._fault(line, f"{name}: expected a value or a list of values, got a mapping in a list")

    def _visit(self, node: yaml.Node) -> None:
        """Refuses an object, and a list or mapping that an alias brings back: it may be endless, or boundless."""
        if node.tag not in PLAIN:
            raise self._fault(node.start_mark.line + 1, f"{node.tag!r:.60} is no tag of options; write plain values")
        if id(node) in self._visited:
            raise self._fault(node.start_mark.line + 1, "an alias (*name) can stand for a single value only")
        self._visited.add(id(node))

    def _fault(self, line: int, fault: str) -> InputError:
        return InputError(f"{self.file}:{line}: {fault}")


def _read_text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{file}: cannot read the config ({error.strerror}); expected a YAML file") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"{file}: expected a YAML file of options, got more than {MAX_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{file}:{line}: not YAML: its text is not UTF-8; save the file in that encoding") from None


def _make_double(file: Path, name: str, line: int, first: int) -> InputError:
    return InputError(f"{file}:{line}: {name} is given twice, first in line {first}; remove one")


def _find_line(error: yaml.YAMLError, text: str) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f":{text.count(chr(10), 0, error.position) + 1}"
    mark = getattr(error, "problem_mark", None)
    return f":{mark.line + 1}" if mark else ""


def _shorten(error: yaml.YAMLError) -> str:
    """Returns what is wrong in a line, without the place and the text around it."""
    parts = [getattr(error, name, None) for name in ("context", "problem")]
    return ", ".join(part for part in parts if part) or " ".join(str(error).split())
