"""A disk that fails at a chosen call, and processes that meet it."""

import builtins
import errno
import io
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch

CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
NEED_ROOM = {"open", "write", "os.mkdir", "os.link", "os.symlink"}


class FaultyDisk:
    """Counts the calls that change files below `root`; does `fault` at call number `at`, and from there on if it stays.

    Python tells an audit hook of its own calls. What it does not tell is patched: `os.fsync`, the writes of files that
    are open, and safetensors' file. TensorBoard's events are left out: a thread of theirs writes them at any time.
    """

    def __init__(self) -> None:
        self.root, self.at, self.calls, self.fault = "", -1, 0, lambda what: None
        self.stays = self.busy = False

    def install(self, root: Path, fault: Callable[[str], None], at: int, *, stays: bool = False) -> None:
        self.root, self.fault, self.at, self.stays = f"{root}/", fault, at, stays
        opens, fsync, serialize = io.open, os.fsync, safetensors.torch.serialize_file

        def patched_open(file: Any, mode: str = "r", *more: Any, **options: Any) -> Any:
            stream = opens(file, mode, *more, **options)
            if set("wax+") & set(mode) and isinstance(file, str | os.PathLike) and self.concerns(str(file)):
                write = stream.write

                def patched_write(data: Any) -> Any:
                    # Half of it is there when the process dies, or has no more room.
                    if self.calls == self.at and self.fault is not terminate:
                        write(data[: len(data) // 2])
                        stream.flush()
                    self.call("write", str(file))
                    return write(data)

                return Writer(stream, patched_write)
            return stream

        def patched_fsync(descriptor: int) -> None:
            self.call("fsync", os.readlink(f"/proc/self/fd/{descriptor}"))
            fsync(descriptor)

        def patched_serialize(data: Any, path: Any, metadata: Any = None) -> None:
            self.call("write", str(path))
            serialize(data, path, metadata=metadata)

        builtins.open = io.open = patched_open  # type: ignore[assignment]
        os.fsync, safetensors.torch.serialize_file = patched_fsync, patched_serialize  # type: ignore[assignment]
        sys.addaudithook(self.audit)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or event in CHANGES) and isinstance(arguments[0], str | bytes | os.PathLike):
            self.call(event, os.fsdecode(arguments[0]))

    def concerns(self, path: str) -> bool:
        # `shutil.rmtree` names files relative to a folder that it holds open.
        return (path.startswith(self.root) or not os.path.isabs(path)) and "tfevents" not in path

    def call(self, what: str, path: str) -> None:
        if self.busy or not self.concerns(path):
            return
        number, self.calls = self.calls, self.calls + 1
        if number == self.at or (self.stays and 0 <= self.at < number):
            self.busy = True
            try:
                self.fault(what)
            finally:
                self.busy = False


class Writer:
    """An open file whose writes are counted."""

    def __init__(self, stream: Any, write: Callable[[Any], Any]) -> None:
        self._stream, self.write = stream, write

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> "Writer":
        self._stream.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._stream.__exit__(*error)

    def __iter__(self) -> Any:
        return iter(self._stream)


def kill(what: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fill(what: str) -> None:
    if what in NEED_ROOM:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def terminate(what: str) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


FAULTS = {"kill": (kill, False), "full": (fill, True), "term": (terminate, False)}


def run_in_child(work: Callable[[], object], folder: Path, fault: str | None = None, at: int = -1) -> tuple[int, int]:
    """How a fork that does the work ended (its exit code, or minus a signal's number), and the calls it made."""
    from textrl_env.errors import InputError
    from textrl_env.pipeline.runs import StageStoppedError

    log, counts = folder.with_name(f"{folder.name}.log"), os.pipe()
    if child := os.fork():
        os.close(counts[1])
        _, status = os.waitpid(child, 0)
        with os.fdopen(counts[0]) as pipe:
            n_calls = int(pipe.read() or -1)
        return os.waitstatus_to_exitcode(status), n_calls
    code = 1
    try:
        with log.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        disk = FaultyDisk()
        action, stays = FAULTS[fault] if fault else (lambda what: None, False)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        warnings.simplefilter("ignore")  # pytest makes errors of them; the command line prints them.
        disk.install(folder, action, at, stays=stays)
        work()
        code = 0
    except InputError as error:
        os.write(2, f"textrl: {error}\n".encode())
        code = 2
    except StageStoppedError as error:
        code = error.exit_code
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    os.write(counts[1], str(disk.calls).encode())
    os._exit(code)


@pytest.fixture
def in_child() -> Callable[..., tuple[int, int]]:
    return run_in_child
