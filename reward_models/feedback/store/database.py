"""The store of a labelling desk: items and events in a SQLite file."""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.store.items import Item, item_fault
from textrl_env.reward_models.feedback.store.label_log import AnswerKey, LabelEvent
from textrl_env.reward_models.feedback.store.schema import connect, open_database

_CONTENT = ("revision", "kind", "judgement", "shown", "seconds", "created_at", "submission")
EVENT_COLUMNS = ("id", *AnswerKey._fields, *_CONTENT)
_INSERT = f"INSERT INTO events ({', '.join(EVENT_COLUMNS[1:])}) VALUES ({', '.join('?' * (len(EVENT_COLUMNS) - 1))})"


class StorageError(InputError):
    """The disk is full or fails; none of the events was written."""


class Store:
    """A database file, safe to use from several threads and processes.

    WAL, `synchronous=FULL`: a label is on the disk before `append` returns. The table of events refuses changes and
    removals; `UNIQUE (item, annotator, round, revision)` with odd labels and even undos lets at most one answer of a
    person to an item stand.

    Args:
        path: of the file; made if nothing is there.

    Raises:
        InputError: see `open_database`; or a row of it is not what it should be, named by its table and number.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._connection = open_database(self.path)
        # A connection of its own for reading: in WAL mode it does not wait for a commit.
        self._reader = connect(self.path, "ro")
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self.items: dict[str, Item] = {}
        self.disagreement: dict[str, float] = {}
        try:
            self._read_items()
        except InputError:
            self.close()
            raise

    def close(self) -> None:
        """Writes the write-ahead log into the file and closes it."""
        self._reader.close()
        self._connection.close()

    def setting(self, name: str, default: str) -> str:
        """Returns a setting; the first call for it decides, by its default, what it is."""
        insert = "INSERT INTO settings VALUES (?, ?) ON CONFLICT DO NOTHING"
        self._write(lambda: self._connection.execute(insert, [name, default]))
        with self._reading:
            value: str = self._reader.execute("SELECT value FROM settings WHERE name = ?", [name]).fetchone()[0]
        return value

    def add_items(self, items: Iterable[Item]) -> int:
        """Adds items that are not there yet and returns their number; InputError where one is no item."""
        rows = []
        for item in items:
            if fault := item_fault(item.task, item.prompt, item.completions):
                raise InputError(f"{fault}: {item!r:.100}")
            texts = [json.dumps(value, ensure_ascii=False) for value in (item.prompt, item.completions)]
            rows.append((item.id, item.task, *texts))
        insert = "INSERT INTO items (id, task, prompt, completions) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
        before = len(self.items)
        self._write(lambda: self._connection.executemany(insert, rows))
        self._read_items()
        return len(self.items) - before

    def set_disagreement(self, values: Mapping[str, float]) -> None:
        """Stores how much an ensemble of reward models disagrees about items, by their ids."""
        rows = [(value, item) for item, value in values.items()]
        self._write(lambda: self._connection.executemany("UPDATE items SET disagreement = ? WHERE id = ?", rows))
        self._read_items()

    def append(self, events: Sequence[LabelEvent]) -> list[bool]:
        """Writes events in one transaction; returns once they are on the disk.

        Returns:
            True per event that was written; False where its revision or submission is taken.

        Raises:
            StorageError: the disk is full or fails; none of them was written.
        """
        outcomes: list[bool] = []

        def insert() -> None:
            for event in events:
                values = (*event.key, event.revision, event.kind, event.judgement.to_json(), json.dumps(event.order))
                try:
                    self._connection.execute(_INSERT, [*values, event.seconds, event.created_at, event.submission])
                    outcomes.append(True)
                except sqlite3.IntegrityError as error:
                    if error.sqlite_errorname != "SQLITE_CONSTRAINT_UNIQUE":
                        raise
                    outcomes.append(False)

        self._write(insert)
        return outcomes

    def events(self, after: int = 0) -> list[LabelEvent]:
        """Reads the log behind the event with id `after`; InputError names a row that is no event."""
        with self._reading:
            query = f"SELECT {', '.join(EVENT_COLUMNS)} FROM events WHERE id > ? ORDER BY id"
            rows = self._reader.execute(query, [after]).fetchall()
        if any(row[1] not in self.items for row in rows):
            self._read_items()  # Another process added some.
        return [self._event(row) for row in rows]

    def _write(self, statements: Callable[[], object]) -> None:
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                statements()
                self._connection.execute("COMMIT")
            except (sqlite3.Error, ValueError) as error:
                # Where SQLite has rolled back by itself there is nothing left to roll back.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise StorageError(f"{self.path}: not written: {error}; make room and try again") from error

    def _read_items(self) -> None:
        with self._reading:
            query = "SELECT number, id, task, prompt, completions, disagreement FROM items ORDER BY number"
            rows = self._reader.execute(query).fetchall()
        items, disagreement = {}, {}
        for number, id, task, prompt, completions, score in rows:
            where = f"{self.path}: table items, row {number}"
            prompt, completions = _decode(prompt, where), _decode(completions, where)
            if fault := item_fault(task, prompt, completions):
                raise InputError(f"{where}: {fault}")
            item = Item(task, prompt, tuple(completions))
            if item.id != id:
                raise InputError(f"{where}: its id {id!r:.60} does not belong to its content")
            items[id], disagreement[id] = item, float(score)
        self.items, self.disagreement = items, disagreement

    def _event(self, row: Sequence[Any]) -> LabelEvent:
        values = dict(zip(EVENT_COLUMNS, row, strict=True))
        where = f"{self.path}: table events, row {values['id']}"
        try:
            values |= {name: _decode(values[name], where) for name in ("judgement", "shown")}
            return LabelEvent.from_values(values, self.items)
        except InputError as error:
            raise InputError(f"{where}: {str(error).removeprefix(where + ': ')}") from None


def _decode(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON: {error}") from None
