"""kill -9 at random times, again and again: the run ends as the one that was left alone."""

import os
import random
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from textrl_env.agents.on_policy import SaveCheckpoints
from textrl_env.training.checkpoints import newest_good
from textrl_env.training.checkpoints.run_checkpoints import list_checkpoints

N = 12


def train(make: Callable[[], Any], folder: Path) -> None:
    """From the newest checkpoint, or from the start, to the end."""
    ppo = make()
    path = newest_good(folder)
    length = {} if path else {"total_updates": N}
    (ppo.load(path) if path else ppo).learn(**length, callback=SaveCheckpoints(folder, every_updates=1))


def in_a_child(work: Callable[[], None]) -> int:
    """The process id of a fork that does the work, and exits with 0 if it could."""
    if child := os.fork():
        return child
    try:
        warnings.simplefilter("error")
        work()
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def has_ended(child: int) -> bool:
    """True where the child has ended; it can still be waited for."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


@pytest.mark.slow
def test_killed_at_random_times_it_ends_the_same(make_ppo: Any, tmp_path: Path) -> None:
    def make() -> Any:
        return make_ppo(learning_rate=lambda remaining: 1e-3 * remaining, env={"prompt_order": "epoch"})

    train(make, tmp_path / "straight")
    killed, draw = 0, random.Random(0)
    for _ in range(40):
        newest, started = list_checkpoints(tmp_path / "killed")[:1], time.monotonic()
        child = in_a_child(lambda: train(make, tmp_path / "killed"))
        # At the child's own speed, so that a slow machine kills as often as a fast one: after its first checkpoint,
        # anywhere in as long a time as it took to come there.
        while list_checkpoints(tmp_path / "killed")[:1] == newest and not has_ended(child):
            time.sleep(0.001)
        time.sleep(draw.random() * (time.monotonic() - started))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        if not os.WIFSIGNALED(status):
            break
        killed += 1
        assert newest_good(tmp_path / "killed") is not None
    assert killed >= 3
    train(make, tmp_path / "killed")
    ends = [list_checkpoints(tmp_path / name)[0] for name in ("straight", "killed")]
    assert [end.name for end in ends] == [f"update-{N:06d}"] * 2
    assert (ends[0] / "manifest.json").read_text() == (ends[1] / "manifest.json").read_text()
