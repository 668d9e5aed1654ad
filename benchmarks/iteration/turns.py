"""A variant's side of the conversation with the benchmark: one iteration for every line that comes in.

Each variant is a process of its own, so that they can be interleaved iteration by iteration, whatever environment and
libraries they need. A line holds a number of threads; the answer is one line of JSON with the iteration's processor and
wall seconds. When the input ends, the process does.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


class Turns:
    """Waits for a turn, measures it, reports it. What libraries print goes to stderr."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def ready(self, **facts: Any) -> None:
        """Tells the benchmark that everything is built."""
        self._write(facts)

    def wait(self) -> None:
        """Until the next turn; from here on it is measured."""
        line = sys.stdin.readline()
        if not line:
            # Not sys.exit: a trainer whose loop is left from within may want to save something first.
            os._exit(0)
        torch.set_num_threads(int(line))
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def report(self, **facts: Any) -> None:
        """The turn is over."""
        cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        self._write({"cpu": cpu, "wall": wall, **facts})

    def serve(self, iteration: Callable[[], dict[str, Any]]) -> None:
        """For variants that can be called iteration by iteration; these return facts to report."""
        while True:
            self.wait()
            self.report(**iteration())

    def _write(self, facts: dict[str, Any]) -> None:
        self._answers.write(json.dumps(facts) + "\n")
        self._answers.flush()


class Stopwatch:
    """Seconds by phase of an iteration: at any time one phase, or none, is running."""

    def __init__(self) -> None:
        self.phases: dict[str, dict[str, float]] = {}
        self._running: str | None = None
        self._since = (0.0, 0.0)

    def switch(self, phase: str | None) -> str | None:
        """Ends the running phase and starts another; returns the one that ended."""
        now = (time.process_time(), time.perf_counter())
        finished_phase, self._running = self._running, phase
        if finished_phase is not None:
            seconds = self.phases.setdefault(finished_phase, {"cpu": 0.0, "wall": 0.0})
            seconds["cpu"] += now[0] - self._since[0]
            seconds["wall"] += now[1] - self._since[1]
        self._since = now
        return finished_phase

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """A phase that interrupts the running one."""
        outer_phase = self.switch(phase)
        yield
        self.switch(outer_phase)

    def read(self) -> dict[str, dict[str, float]]:
        """The seconds since the last reading."""
        self.switch(None)
        phases, self.phases = self.phases, {}
        return phases
