"""One process at a time writes into a folder."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from textrl_env import InputError
from textrl_env.cli import main
from textrl_env.files import locked

HOLD = """
import sys, time
from textrl_env.files import locked
with locked(sys.argv[1]):
    print("holds", flush=True)
    time.sleep(60)
"""


@contextmanager
def holder(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "holds\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused_by_name_and_takes_over_once_the_first_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    with holder(folder) as process:
        with pytest.raises(InputError, match=rf"process {process.pid} on \S+, since 2\d\d\d-.*: -c .*run; wait"):
            locked(folder).__enter__()
        # Before any row is read or model trained.
        with pytest.raises(SystemExit) as end:
            main(["sft", "--run-dir", str(folder)])
        assert end.value.code == 2
        shown = capsys.readouterr().err
        assert (
            shown.startswith(f"textrl: {folder}: another process is writing into this folder")
            and "\n" not in shown[:-1]
        )
        process.send_signal(signal.SIGKILL)
        process.wait()
    with locked(folder):
        pass
    assert not list(folder.iterdir())


def test_it_is_entered_again_by_its_holder_and_not_by_another_thread(tmp_path: Path) -> None:
    folder, faults = tmp_path / "new" / "run", list[str]()

    def enter() -> None:
        try:
            locked(folder).__enter__()
        except InputError as error:
            faults.append(str(error))

    with locked(folder), locked(folder):
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
    assert len(faults) == 1 and "another thread" in faults[0]
    assert not list(tmp_path.iterdir()), "folders that were made for nothing go again"


def test_a_fork_has_no_lock(tmp_path: Path) -> None:
    with locked(tmp_path):
        if not (child := os.fork()):
            try:
                locked(tmp_path).__enter__()
            except InputError:
                os._exit(0)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_of_many_at_once_one_holds_it(tmp_path: Path) -> None:
    """Each for a moment, the file deleted and made anew each time; two at once would meet in `inside`."""
    children = []
    for _ in range(6):
        if child := os.fork():
            children.append(child)
            continue
        code, end = 0, time.monotonic() + 1.0
        while time.monotonic() < end and not code:
            try:
                with locked(tmp_path / "run"):
                    try:
                        os.close(os.open(tmp_path / "inside", os.O_CREAT | os.O_EXCL))
                        os.unlink(tmp_path / "inside")
                    except FileExistsError:
                        code = 1
            except InputError:
                pass
        os._exit(code)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 6
