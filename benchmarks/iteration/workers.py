"""The benchmark's side of the conversation: a process per variant, of which only one computes at a time."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parents[1]


def offline(threads: int) -> dict[str, str]:
    """The environment variables of a process that computes with so many threads and asks no network."""
    return os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRL_EXPERIMENTAL_SILENCE": "1",
        "PYTHONPATH": str(BENCHMARKS.parent),
    }


class WorkerError(Exception):
    """A variant's process ended; the message is the last line that it printed."""


class Worker:
    """A variant's process.

    Args:
        command: its interpreter and arguments.
        environment: variables beside this process's own.
        threads: the most that it will be asked to compute with.
        log: receives what it prints.
    """

    def __init__(self, command: list[str], *, environment: dict[str, str], threads: int, log: Path) -> None:
        self._log = log
        with log.open("w") as file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                cwd=BENCHMARKS,
                env=offline(threads) | environment,
            )

    def wait_until_ready(self) -> dict[str, Any]:
        """Facts about what was built; WorkerError where nothing could be."""
        return self._answer()

    def turn(self, threads: int) -> dict[str, Any]:
        """Lets it do one iteration; returns what it reports."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{threads}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(self._last_line()) from None
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(self._last_line())
        facts: dict[str, Any] = json.loads(line)
        return facts

    def _last_line(self) -> str:
        lines = [line for line in self._log.read_text().splitlines() if line.strip()]
        return lines[-1] if lines else "it ended without a word"
