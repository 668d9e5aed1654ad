"""Two processes that train together, forked from the test."""

import multiprocessing
import os
import pickle
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import textrl_env.agents.accelerated  # noqa: F401 - Imported once, before the forks.

COUNT = 2


@dataclass
class Ended:
    """How one of the processes ended: what its work returned, or what it raised, and after how many seconds."""

    result: Any
    error: str
    exit_code: int | None
    seconds: float


Together = Callable[..., list[Ended]]


@pytest.fixture
def together() -> Together:
    """Runs `work(index)` in two processes that were launched as one run; how they ended."""

    def run(work: Callable[[int], Any], *, timeout: float = 120) -> list[Ended]:
        context, port = multiprocessing.get_context("fork"), free_port()
        ends, children = [], []
        for index in range(COUNT):
            end, far_end = context.Pipe(duplex=False)
            child = context.Process(target=one_of_them, args=(work, index, port, far_end))
            child.start()
            far_end.close()
            ends.append(end)
            children.append(child)
        started = time.monotonic()
        try:
            return [ended(child, end, started, timeout) for child, end in zip(children, ends, strict=True)]
        finally:
            for child in children:
                child.kill()

    return run


@pytest.fixture
def both(together: Together) -> Callable[..., list[Any]]:
    """What `work(index)` returned in each of two processes; neither may fail."""

    def run(work: Callable[[int], Any]) -> list[Any]:
        found = together(work)
        assert [end.error for end in found] == [""] * COUNT
        return [end.result for end in found]

    return run


def one_of_them(work: Callable[[int], Any], index: int, port: int, end: Any) -> None:
    numbers = {"RANK": index, "LOCAL_RANK": index, "WORLD_SIZE": COUNT, "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", **{name: str(number) for name, number in numbers.items()}}
    try:
        end.send_bytes(pickle.dumps((work(index), "")))
    except BaseException as error:
        traceback.print_exc(file=sys.stderr)
        end.send_bytes(pickle.dumps((None, f"{type(error).__name__}: {error}")))
        # At once: a process that fails does not wait for anything.
        os._exit(1)
    os._exit(0)


def ended(child: Any, end: Any, started: float, timeout: float) -> Ended:
    result, error = None, "nothing came"
    if end.poll(max(started + timeout - time.monotonic(), 0)):
        try:
            result, error = pickle.loads(end.recv_bytes())
        except EOFError:
            error = "killed"
    child.join(max(started + timeout - time.monotonic(), 0))
    return Ended(result, error, child.exitcode, time.monotonic() - started)


def free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        port: int = any_port.getsockname()[1]
    return port
