"""The database file: its tables, their versions, and opening one of unknown origin without harming it."""

import contextlib
import os
import secrets
import sqlite3
from pathlib import Path
from urllib.parse import quote

from textrl_env.errors import InputError

APPLICATION_ID = 0x7465786C  # "texl": what `file` and SQLite read as the kind of database.
MIGRATIONS = (
    """
    CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE items (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        task TEXT NOT NULL,
        prompt TEXT NOT NULL,
        completions TEXT NOT NULL
    ) STRICT;
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        item TEXT NOT NULL REFERENCES items (id),
        annotator TEXT NOT NULL,
        round INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        kind TEXT NOT NULL,
        judgement TEXT NOT NULL,
        shown TEXT NOT NULL,
        seconds REAL NOT NULL,
        created_at TEXT NOT NULL,
        submission TEXT NOT NULL UNIQUE,
        UNIQUE (item, annotator, round, revision),
        CHECK ((kind = 'undo') = (revision % 2 = 0))
    ) STRICT;
    CREATE TRIGGER events_are_not_changed BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
    CREATE TRIGGER events_are_not_removed BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
    """,
    "ALTER TABLE items ADD COLUMN disagreement REAL NOT NULL DEFAULT 0;",
)
"""Scripts; the n-th takes a database from version n - 1 to version n. Never edited, only added to."""


def open_database(path: Path) -> sqlite3.Connection:
    """Opens the database at `path`, made if nothing is there, migrated if it is of an earlier version.

    A file that is there is first read only, and left as it is unless everything about it is right.

    Raises:
        InputError: not a SQLite database, damaged, not one of ours, changed by other hands, or of a later version.
    """
    if not path.exists():
        _create(path)
    _check(path)
    connection = connect(path, "rw")
    _migrate(connection, path)
    return connection


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Opens a connection that trusts nothing in the file; `mode` is `ro` or `rw`."""
    # Autocommit: transactions are begun and ended by name, so that what is answered is what was committed.
    connection = sqlite3.connect(
        f"file:{quote(str(path.resolve()))}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
    )
    # Bytes that are no UTF-8 become half surrogates, which the check of the row finds and names.
    connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    connection.execute("PRAGMA busy_timeout = 10000")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA recursive_triggers = ON")  # Else INSERT OR REPLACE would remove rows unseen.
    if mode == "rw":
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    return connection


def _create(path: Path) -> None:
    """Makes it whole under another name: a process that is stopped half-way leaves no half database."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        connection = connect(temporary, "rw")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        _migrate(connection, temporary)
        connection.execute("INSERT INTO settings VALUES ('secret', ?)", [secrets.token_hex(32)])
        connection.close()
        # Fails where another process was quicker; then that one's is used.
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    except (OSError, sqlite3.Error) as error:
        raise InputError(f"{path}: the database cannot be made: {error}") from None
    finally:
        for leftover in path.parent.glob(temporary.name + "*"):
            leftover.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _check(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path}: is a folder, expected a database of labels")
    with path.open("rb") as file:
        if file.read(16) != b"SQLite format 3\0":
            raise InputError(f"{path}: is no SQLite database; it was left as it is, name another file")
    connection = connect(path, "ro")
    try:
        pragmas = ("application_id", "user_version")
        kind, version = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas)
        if kind != APPLICATION_ID:
            raise InputError(f"{path}: is a SQLite database, but not one of labels; it was left as it is")
        if version > len(MIGRATIONS):
            raise InputError(
                f"{path}: has version {version}, this program reads up to {len(MIGRATIONS)}; update textrl-env"
            )
        faults = [row[0] for row in connection.execute("PRAGMA integrity_check(1)")]
        if faults != ["ok"]:
            raise sqlite3.DatabaseError(faults[0])
        if _read_schema(connection) != _make_schema(version):
            raise InputError(
                f"{path}: its tables, triggers or views are not those of version {version}; "
                "it was changed by other hands, and was left as it is"
            )
    except sqlite3.DatabaseError as error:
        raise InputError(
            f"{path}: the database is damaged ({str(error).splitlines()[0]}); it was left as it is. Restore a copy, "
            f"or save what can be read: sqlite3 {path} .recover | sqlite3 recovered.db"
        ) from None
    finally:
        connection.close()


def _read_schema(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    return set(connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_schema"))


def _make_schema(version: int) -> set[tuple[str, str, str]]:
    memory = sqlite3.connect(":memory:")
    for script in MIGRATIONS[:version]:
        memory.executescript(script)
    schema = _read_schema(memory)
    memory.close()
    return schema


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Migrates a version per transaction: a process that is stopped in between leaves the version before."""
    try:
        while True:
            connection.execute("BEGIN IMMEDIATE")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == len(MIGRATIONS):
                connection.execute("COMMIT")
                return
            for statement in _statements(MIGRATIONS[version]):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        connection.close()
        raise InputError(
            f"{path}: cannot be brought to version {len(MIGRATIONS)}: {error}; free space and retry"
        ) from None


def _statements(script: str) -> list[str]:
    """Splits a script, to run inside a transaction; `executescript` would commit before it begins."""
    statements, statement = [], ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            statements.append(statement.strip())
            statement = ""
    return statements
