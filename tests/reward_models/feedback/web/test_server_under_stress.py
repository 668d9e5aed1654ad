"""The server as a process of its own: killed while clients post, out of disk, under a thousand posts at once."""

import asyncio
import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest

from textrl_env.reward_models.feedback.store import Store
from textrl_env.reward_models.feedback.web import Access

SERVER = Path(__file__).with_name("web_server.py")


class Client:
    """One annotator's requests, without a browser."""

    def __init__(self, port: int, access: Access, name: str) -> None:
        self.port, self.name = port, name
        self.headers = {
            "Host": f"127.0.0.1:{port}",
            "Origin": f"http://127.0.0.1:{port}",
            "Content-Type": "application/json",
            "Cookie": f"{access.cookie_name}={access.session(name)}",
            "X-CSRF-Token": access.csrf(name),
        }

    def post(self, body: dict[str, Any]) -> int:
        """The status of the answer; OSError or HTTPException where there is none."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("POST", "/answers", json.dumps(body), self.headers)
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()


def answer(item: str, submission: str, comment: str = "") -> dict[str, Any]:
    body = {"item": item, "round": 0, "revision": 1, "kind": "label", "ranks": [1, 2], "seconds": 1.0}
    return body | {"submission": submission, "comment": comment}


@contextmanager
def serving(database: Path, *, n_items: int, overlap: int = 1, max_bytes: int = 0) -> Iterator[tuple[Any, int]]:
    """The server's process and port; ended at the end."""
    arguments = [str(database), "0", str(n_items), str(overlap), str(max_bytes)]
    process = subprocess.Popen([sys.executable, str(SERVER), *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        word, _, port = process.stdout.readline().partition(" ")
        assert word == "ready"
        yield process, int(port)
    finally:
        process.kill()
        process.wait()


def inside(database: Path) -> tuple[list[str], Access]:
    """The ids of a database's items, and the key to its sessions."""
    connection = sqlite3.connect(database)
    items = [row[0] for row in connection.execute("SELECT id FROM items")]
    (secret,) = connection.execute("SELECT value FROM settings WHERE name = 'secret'").fetchone()
    connection.close()
    return items, Access(secret)


def stored(database: Path) -> set[str]:
    store = Store(database)
    found = {event.submission for event in store.events()}
    store.close()
    return found


def test_kill_9_while_eight_clients_post_loses_no_acknowledged_label(tmp_path: Path) -> None:
    database, chance = tmp_path / "labels.db", random.Random(1)
    acknowledged: set[str] = set()
    sent = 0
    for turn in range(3):
        with serving(database, n_items=400, overlap=99) as (process, port):
            items, access = inside(database)
            stop = threading.Event()

            def work(number: int) -> None:
                nonlocal sent
                client = Client(port, access, f"client {number} of turn {turn}")  # noqa: B023
                for item in items:  # noqa: B023
                    submission = f"{turn}-{number}-{item}"  # noqa: B023
                    sent += 1
                    try:
                        if client.post(answer(item, submission)) == 200:
                            acknowledged.add(submission)
                    except (OSError, HTTPException):
                        pass
                    if stop.is_set():  # noqa: B023
                        return

            threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
            for thread in threads:
                thread.start()
            time.sleep(chance.uniform(0.2, 0.6))
            process.send_signal(signal.SIGKILL)
            stop.set()
            for thread in threads:
                thread.join()
        assert acknowledged <= stored(database)
    assert len(acknowledged) > 20 and sent > len(acknowledged), "killed while requests were under way"


def test_a_full_disk_is_said_and_the_desk_goes_on_when_there_is_room(tmp_path: Path) -> None:
    import resource

    database = tmp_path / "labels.db"
    with serving(database, n_items=300, max_bytes=260_000) as (process, port):
        items, access = inside(database)
        client = Client(port, access, "ada")
        statuses = {item: client.post(answer(item, f"s-{item}", "x" * 2000)) for item in items[:200]}
        assert set(statuses.values()) == {200, 507}, "some fitted, some did not"
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        refused = [item for item, status in statuses.items() if status == 507]
        assert {client.post(answer(item, f"s-{item}", "x" * 2000)) for item in refused} == {200}
    assert stored(database) == {f"s-{item}" for item in items[:200]}


def test_a_double_submit_is_one_label_and_two_answers_to_one_question_are_a_conflict(tmp_path: Path) -> None:
    database = tmp_path / "labels.db"
    with serving(database, n_items=30) as (_, port):
        items, access = inside(database)
        client, statuses = Client(port, access, "ada"), []

        def post(body: dict[str, Any]) -> None:
            statuses.append((body["submission"], client.post(body)))

        for number, item in enumerate(items):
            # Twice the same press, and a second window with another answer, all at once.
            bodies = [answer(item, f"same-{number}"), answer(item, f"same-{number}"), answer(item, f"other-{number}")]
            threads = [threading.Thread(target=post, args=(body,)) for body in bodies]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    found = stored(database)
    assert len(found) == 30
    for submission, status in statuses:
        assert status == (200 if submission in found else 409)


@pytest.mark.slow
def test_a_thousand_posts_at_once_are_all_answered_and_stored(tmp_path: Path) -> None:
    database, n = tmp_path / "labels.db", 1000

    async def post(port: int, access: Access, item: str, number: int, gate: asyncio.Event) -> tuple[float, bytes]:
        headers = Client(port, access, f"annotator {number % 50}").headers
        body = json.dumps(answer(item, f"s-{number}")).encode()
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST /answers HTTP/1.1\r\n{lines}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        await gate.wait()
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + body)
        received = await reader.read()
        writer.close()
        return time.perf_counter() - began, received.split(b" ", 2)[1]

    async def all_at_once(port: int) -> list[tuple[float, bytes]]:
        items, access = inside(database)
        gate = asyncio.Event()
        posts = [asyncio.create_task(post(port, access, items[number], number, gate)) for number in range(n)]
        await asyncio.sleep(0.2)
        gate.set()
        return await asyncio.gather(*posts)

    with serving(database, n_items=n) as (_, port):
        answers = asyncio.run(all_at_once(port))
    assert {status for _, status in answers} == {b"200"}
    assert stored(database) == {f"s-{number}" for number in range(n)}
    # Shown with `pytest -s`; no bar, since a busy machine decides it.
    print(f"p99 {sorted(seconds for seconds, _ in answers)[int(0.99 * n)]:.2f} s")
