"""The store: what was acknowledged is there, whatever happens; what is not ours or damaged is left as it is."""

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.store import (
    AnswerKey,
    Item,
    Judgement,
    LabelEvent,
    LabelLog,
    StorageError,
    Store,
    schema,
)


def event(item: Item, submission: str, *, annotator: str = "ada", revision: int = 1, comment: str = "") -> LabelEvent:
    kind: Any = "undo" if revision % 2 == 0 else "label"
    judgement = Judgement() if kind == "undo" else Judgement((1, 2), comment=comment)
    return LabelEvent(
        AnswerKey(item.id, annotator, 0), revision, kind, judgement, (0, 1), 1.0, "2026-01-01T00:00:00", submission
    )


ITEMS = [Item("pair", f"p{number}", ("a", "b")) for number in range(4)]

# Writes labels for ever; says which after each commit.
WRITER = """
import sys
from textrl_env.reward_models.feedback.store import AnswerKey, Item, Judgement, LabelEvent, Store
store = Store(sys.argv[1])
store.add_items([Item("pair", f"p{number}", ("a", "b")) for number in range(4)])
item = next(iter(store.items))
print("ready", flush=True)
for number in range(100_000):
    name = f"{sys.argv[2]}-{number}"
    key, judgement = AnswerKey(item, name, 0), Judgement((1, 2))
    event = LabelEvent(key, 1, "label", judgement, (0, 1), 1.0, "2026-01-01T00:00:00", name)
    assert store.append([event]) == [True]
    print(name, flush=True)
"""


def test_kill_9_at_any_time_loses_no_acknowledged_label(tmp_path: Path) -> None:
    path, chance = tmp_path / "labels.db", random.Random(0)
    acknowledged: set[str] = set()
    for turn in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(turn)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout and process.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.01, 0.2))
        process.send_signal(signal.SIGKILL)
        # A line that the kill cut short acknowledged nothing.
        lines = process.stdout.read().splitlines(keepends=True)
        process.wait()
        acknowledged |= {line.strip() for line in lines if line.endswith("\n")}
        store = Store(path)
        assert acknowledged <= {found.submission for found in store.events()}
        store.close()
    assert len(acknowledged) > 5


def test_a_full_disk_is_an_error_that_writes_nothing_and_ends_with_the_shortage(store: Store) -> None:
    store.add_items(ITEMS)
    assert store.append([event(ITEMS[0], "first")]) == [True]
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    batch = [event(ITEMS[0], f"big-{n}", annotator=f"a{n}", comment="x" * 2000) for n in range(20)]
    with pytest.raises(StorageError, match="full"):
        store.append(batch)
    assert [found.submission for found in store.events()] == ["first"]
    store._connection.execute("PRAGMA max_page_count = 1000000")
    assert store.append(batch) == [True] * 20 and len(store.events()) == 21


def test_at_most_one_answer_of_a_person_to_an_item_stands(store: Store) -> None:
    store.add_items(ITEMS)
    assert store.append([event(ITEMS[0], "a"), event(ITEMS[0], "b")]) == [True, False]
    assert store.append([event(ITEMS[1], "a")]) == [False], "a submission is one event"
    assert store.append([event(ITEMS[0], "c", revision=2), event(ITEMS[0], "d", revision=3)]) == [True, True]
    with pytest.raises(StorageError, match="FOREIGN KEY"):
        store.append([event(ITEMS[2], "e"), event(Item("pair", "elsewhere", ("a", "b")), "f")])
    assert [found.submission for found in store.events()] == ["a", "c", "d"]


def test_the_log_is_append_only(store: Store) -> None:
    store.add_items(ITEMS)
    store.append([event(ITEMS[0], "a")])
    for statement in (
        "DELETE FROM events",
        "UPDATE events SET kind = 'skip'",
        "INSERT OR REPLACE INTO events SELECT * FROM events",
    ):
        with pytest.raises(sqlite3.Error):
            store._connection.execute(statement)
    assert len(store.events()) == 1


def test_many_threads_write_at_once(store: Store) -> None:
    store.add_items(ITEMS)
    outcomes: list[bool] = []

    def write(thread: int) -> None:
        for number in range(25):
            # Every name is used by two threads: exactly one of them may win.
            outcomes.extend(store.append([event(ITEMS[0], f"{thread}-{number}", annotator=f"{thread // 2}-{number}")]))

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 200 and sum(outcomes) == 100 == len(store.events())


def test_an_older_database_is_migrated_with_its_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "labels.db"
    with monkeypatch.context() as older:
        older.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        connection = schema.open_database(path)
        item = ITEMS[0]
        connection.execute(
            "INSERT INTO items VALUES (1, ?, ?, ?, ?)",
            [item.id, item.task, json.dumps(item.prompt), json.dumps(item.completions)],
        )
        connection.execute(
            "INSERT INTO events VALUES (1, ?, 'ada', 0, 1, 'label', ?, '[0, 1]', 1.5, '2026-01-01', 's')",
            [item.id, Judgement((1, 2)).to_json()],
        )
        connection.close()
    store = Store(path)
    assert list(store.items.values()) == [item] and store.disagreement == {item.id: 0.0}
    (found,) = store.events()
    assert found.judgement.ranks == (1, 2) and found.seconds == 1.5


def test_a_migration_that_fails_leaves_the_version_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "labels.db"
    Store(path).close()
    before = path.read_bytes()
    broken = "CREATE TABLE extra (a TEXT) STRICT;\nALTER TABLE none ADD COLUMN b TEXT;"
    with monkeypatch.context() as newer:
        newer.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, broken))
        with pytest.raises(InputError, match="cannot be brought to version 3"):
            Store(path)
    assert path.read_bytes() == before
    assert Store(path).items == {}


def test_what_is_no_database_of_labels_is_left_as_it_is(tmp_path: Path) -> None:
    foreign = sqlite3.connect(tmp_path / "foreign.db")
    foreign.execute("CREATE TABLE events (a)")
    foreign.close()
    (tmp_path / "empty.db").touch()
    (tmp_path / "text.db").write_text("my only notes\n")
    for name, message in (("foreign", "not one of labels"), ("empty", "no SQLite"), ("text", "no SQLite")):
        path = tmp_path / f"{name}.db"
        before = path.read_bytes()
        with pytest.raises(InputError, match=message):
            Store(path)
        assert path.read_bytes() == before
    with pytest.raises(InputError, match="is a folder"):
        Store(tmp_path)


def test_a_database_of_a_later_version_is_left_as_it_is(store: Store) -> None:
    store._connection.execute("PRAGMA user_version = 99")
    with pytest.raises(InputError, match="has version 99, this program reads up to 2"):
        Store(store.path)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER evil AFTER INSERT ON events BEGIN DELETE FROM items; END",
        "DROP TRIGGER events_are_not_removed",
        "CREATE VIEW evil AS SELECT load_extension('evil.so')",
        "ALTER TABLE items RENAME TO things",
    ],
)
def test_a_database_whose_schema_was_changed_is_not_used(store: Store, statement: str) -> None:
    store._connection.execute(statement)
    with pytest.raises(InputError, match="changed by other hands"):
        Store(store.path)


@pytest.mark.parametrize(
    ("table", "row", "column", "value", "message"),
    [
        ("items", 2, "completions", '["a"]', "table items, row 2: 'completions' must be a list of 2"),
        ("items", 3, "completions", "[", "table items, row 3: not JSON"),
        ("items", 1, "prompt", '"another"', "table items, row 1: its id .* does not belong"),
        ("items", 1, "prompt", b'"\xff"', "table items, row 1: 'prompt' holds half a surrogate"),
        ("events", 2, "judgement", '{"ranks": [1, 3]}', "table events, row 2: 'ranks' must be 2 ranks"),
        ("events", 2, "judgement", "[" * 100_000, "table events, row 2: not JSON"),
        ("events", 1, "shown", "[0, 0]", "table events, row 1: 'shown' must be an order"),
        ("events", 1, "kind", "vote", "table events, row 1: 'kind' must be one of"),
        ("events", 1, "seconds", -1, "table events, row 1: 'seconds' must be a number"),
        ("events", 1, "annotator", "a\nb", "table events, row 1: a name has"),
        ("events", 2, "revision", 5, "event 2: revision 5 .* expected its next one"),
    ],
)
def test_a_bad_row_is_named(store: Store, table: str, row: int, column: str, value: Any, message: str) -> None:
    store.add_items(ITEMS)
    store.append([event(ITEMS[0], "a"), event(ITEMS[1], "b")])
    raw = store._connection
    (trigger,) = raw.execute("SELECT sql FROM sqlite_schema WHERE name = 'events_are_not_changed'").fetchone()
    raw.execute("DROP TRIGGER events_are_not_changed")
    key = "number" if table == "items" else "id"
    raw.execute(
        f"UPDATE {table} SET {column} = CAST(? AS {'REAL' if column == 'seconds' else 'TEXT'}) WHERE {key} = ?",
        [value, row],
    )
    raw.execute(trigger)
    with pytest.raises(InputError, match=message):
        LabelLog().apply(Store(store.path).events())


def test_a_damaged_database_is_reported_and_left_as_it_is(tmp_path: Path) -> None:
    path, damaged = tmp_path / "labels.db", tmp_path / "damaged.db"
    store = Store(path)
    store.add_items(ITEMS)
    store.append([event(ITEMS[0], f"s{n}", annotator=f"a{n}", comment="x" * 500) for n in range(100)])
    submissions = [found.submission for found in store.events()]
    store.close()
    whole, chance = path.read_bytes(), random.Random(0)
    reports = []
    for turn in range(40):
        content = bytearray(whole)
        if turn % 4 == 0:
            del content[chance.randrange(100, len(content)) :]
        else:
            at = chance.randrange(16, len(content) - 64)
            content[at : at + 64] = chance.randbytes(64)
        damaged.write_bytes(content)
        try:
            found = Store(damaged)
            # What the check lets pass is text inside a row; nothing but that may differ.
            assert [e.submission for e in found.events()] == submissions
            found.close()
        except InputError as error:
            reports.append(str(error))
            assert damaged.read_bytes() == bytes(content)
        for leftover in tmp_path.glob("damaged.db?*"):
            leftover.unlink()
    assert len(reports) >= 20 and all(str(damaged) in report for report in reports)


def test_a_database_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    def make() -> None:
        Store(tmp_path / "new" / "labels.db").setting("seed", "0")

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names <= {"labels.db", "labels.db-wal", "labels.db-shm"}
    assert (tmp_path / "new" / "labels.db").stat().st_mode & 0o077 == 0, "labels and the secret are the owner's"


def test_a_copy_made_while_writing_goes_on_where_it_was(store: Store, tmp_path: Path) -> None:
    store.add_items(ITEMS)
    store.append([event(ITEMS[0], "a")])
    for path in store.path.parent.glob("labels.db*"):
        shutil.copy(path, tmp_path / path.name.replace("labels", "copy"))
    copy = Store(tmp_path / "copy.db")
    assert [found.submission for found in copy.events()] == ["a"]
    assert copy.append([event(ITEMS[1], "b")]) == [True]
