"""A lock per folder: of two processes that would write into it at once, the second is refused.

The lock is the kernel's (POSIX, `fcntl`), on the file `.textrl-lock` in the folder. It ends with its process, however
that ends, so a killed one leaves nothing to clear up. On NFS it holds between machines where the server's lock service
runs; where a file system has no locks a warning says so.
"""

import errno
import json
import os
import shlex
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from textrl_env.errors import InputError
from textrl_env.files.whole import writing

try:
    import fcntl
except ImportError:  # Windows has no such locks.
    fcntl = None  # type: ignore[assignment]

NAME = ".textrl-lock"
NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}
_holders: dict[Path, tuple[int, int]] = {}
"""Folders that this process holds -> process and thread; a fork inherits the table, and no lock."""


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Holds a folder, made if it is not there, for the writes within the context; it can be entered again within.

    Raises:
        InputError: another process or thread holds it, named with its machine, its command and since when; or the
            folder cannot be written.
    """
    path = Path(os.path.realpath(folder))
    holder = (os.getpid(), threading.get_ident())
    if _holders.get(path) == holder:
        yield
        return
    if _holders.get(path, (0, 0))[0] == os.getpid():
        raise InputError(f"{folder}: another thread of this process writes into this folder; wait, or take another")
    with writing(folder):
        # A folder that was made for nothing goes again.
        new_folders = [parent for parent in (path, *path.parents) if not parent.exists()]
        path.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(path / NAME, Path(folder))
    _holders[path] = holder
    try:
        yield
    finally:
        del _holders[path]
        with suppress(OSError):
            os.unlink(path / NAME)
        os.close(descriptor)
        with suppress(OSError):
            for parent in new_folders:
                parent.rmdir()


def _acquire(file: Path, folder: Path) -> int:
    """Returns the descriptor of the lock's file; the lock is held until it is closed."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, folder)
            # Its last holder may have deleted the file meanwhile: then this is a lock on nothing. The file is not
            # opened once more to see, for closing it would give up the lock.
            if _is_named(descriptor, file):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, json.dumps(_describe_process()).encode())
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        if fcntl is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_LOCKS:
            warnings.warn(
                f"{folder}: the file system has no locks ({error.strerror}); see to it that one process writes here",
                stacklevel=4,
            )
        elif error.errno in (errno.EACCES, errno.EAGAIN):
            raise InputError(
                f"{folder}: another process is writing into this folder: {_read_holder(descriptor)}; wait until it "
                "ends, or take another folder"
            ) from None
        else:
            raise


def _is_named(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(file))
    except FileNotFoundError:
        return False


def _describe_process() -> dict[str, str | int]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": shlex.join(sys.argv),
    }


def _read_holder(descriptor: int) -> str:
    """Describes the process that wrote itself into the lock's file; it may be just about to."""
    try:
        holder = json.loads(os.pread(descriptor, 100_000, 0))
        return f"process {holder['pid']} on {holder['host']}, since {holder['since']}: {holder['command']}"
    except (ValueError, KeyError, TypeError):
        return "one that has just started"
