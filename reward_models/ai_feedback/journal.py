"""Answers on the disk: a JSONL file to which every finished answer is added, so that a rerun asks only the rest."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from textrl_env.data import checked_rows, parse
from textrl_env.errors import InputError

Record = Mapping[str, Any]


class Journal:
    """Records by their `key`.

    A last line that a crash cut off, so that it has no end, is dropped; any other damage is an error, and the file is
    left as it is.

    Args:
        path: the file; made with the first record.
        fault_of: says what is wrong with a record that has a key, or None.

    Raises:
        InputError: names `file:line` and what is wrong there.
    """

    def __init__(self, path: Path, fault_of: Callable[[Record], str | None]) -> None:
        self.path = path
        self._records: dict[str, Record] = {}
        if path.exists() and _whole_lines(path):
            rows = checked_rows(
                parse(path, "key"),
                columns=["key"],
                fault_of=lambda row: "'key' must be text" if not isinstance(row["key"], str) else fault_of(row),
                on_bad_row="error",
                source=str(path),
            )
            self._records = {row.values["key"]: row.values for row in rows}

    def __contains__(self, key: str) -> bool:
        return key in self._records

    def __getitem__(self, key: str) -> Record:
        return self._records[key]

    def add(self, records: Iterable[Record]) -> None:
        """Returns when the disk has them."""
        records = list(records)
        lines = "".join(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror}); what it holds so far stays") from None
        self._records |= {record["key"]: record for record in records}


def _whole_lines(path: Path) -> bool:
    """Cuts off a last line without an end; whether any line is left."""
    try:
        with path.open("r+b") as file:
            content = file.read()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                file.truncate(whole)
    except OSError as error:
        raise InputError(f"{path}: cannot be read and added to ({error.strerror})") from None
    return bool(content[:whole].strip())
