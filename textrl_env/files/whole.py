"""Files and folders that are there whole or not at all, whatever ends the process that writes them.

They are written beside their place, flushed to the disk and renamed; what was there before stays until then. The names
beside are `.NAME.textrl-new` and `.NAME.textrl-old`; what a killed process leaves of them is removed by the next one.
"""

import ctypes
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path

from safetensors import SafetensorError

from textrl_env.errors import InputError

NEW, OLD = "textrl-new", "textrl-old"
RUST_ERROR = re.compile(r"\(os error (\d+)\)")
"""The end of what safetensors and tokenizers say of the kernel's refusal."""
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Of renameat2, see its manual page."""


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turns a failure to write, within the context, into an InputError that names the path, the reason and a remedy."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        number = _error_number(error)
        if number is None and not isinstance(error, OSError | SafetensorError):
            raise
        reason = os.strerror(number) if number else str(error)
        remedy = "Make room on the disk, or write elsewhere" if number in FULL else "Write elsewhere"
        raise InputError(
            f"{path}: could not be written ({reason}); what was saved before is intact. {remedy}"
        ) from error


def write_text(path: str | Path, text: str) -> Path:
    """Writes a text in UTF-8, whole or not at all; see `write_bytes`."""
    return write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Writes a file, whole or not at all, its folder made if it is not there; returns the path.

    A link stays and its target is replaced. A pipe, a terminal and the like are written to as they are.

    Raises:
        InputError: it cannot be written; what was there before is still there.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        target = Path(os.path.realpath(path))
        # /dev/stdout leads to whatever the output was sent to, which is no file to replace.
        if path.absolute().is_relative_to("/dev") or (target.exists() and not target.is_file()):
            path.write_bytes(data)
            return path
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        new = _beside(target, NEW)
        try:
            with new.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, new)
            new.replace(target)
        except BaseException:
            with suppress(OSError):
                new.unlink(missing_ok=True)
            raise
        flush(target.parent)
    return path


@contextmanager
def replacing(path: str | Path, *, drop: Sequence[str] = ("*",)) -> Iterator[Path]:
    """Yields a new, empty folder; when the context ends well, it takes the place of `path`, whole.

    Until then the older folder stays as it is, and where the context ends with an error it stays for good.

    Args:
        path: the folder to make or to replace; a link stays, and its target is replaced.
        drop: patterns of the entries of the older folder that go; all by default. The others are in the new one, too,
            unless it has entries of their names.

    Raises:
        InputError: it cannot be written.
    """
    with writing(path):
        path = Path(os.path.realpath(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        new, old = _beside(path, NEW), _beside(path, OLD)
        if old.exists() and not path.exists():
            old.rename(path)
        for remains in (new, old):
            _remove(remains)
        new.mkdir()
        try:
            yield new
            for entry in (*new.rglob("*"), new):
                flush(entry)
            if path.is_dir():
                _carry_over(path, new, drop)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        _swap(path, new, old)
        flush(path.parent)
        for remains in (new, old):
            _remove(remains)


def find_whole(path: Path) -> Path:
    """Returns the folder; where a crash came between the two renames of `replacing`, the older one, set aside."""
    old = _beside(path, OLD)
    return old if not path.exists() and old.exists() else path


def remove_folder(path: Path) -> None:
    """Deletes a folder; a crash on the way leaves no half of it under its name."""
    remains = _beside(path, NEW)
    _remove(remains)
    path.rename(remains)
    _remove(remains)


def sweep(folder: Path) -> None:
    """Deletes what killed processes left beside the entries of a folder; nobody else may be writing there."""
    for remains in folder.glob(f".*.{NEW}"):
        _remove(remains)
    for old in folder.glob(f".*.{OLD}"):
        path = folder / old.name[1 : -len(f".{OLD}")]
        if path.exists():
            _remove(old)
        else:
            old.rename(path)


def flush(path: Path) -> None:
    """Returns once a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest_file(path: Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _error_number(error: Exception) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    match = RUST_ERROR.search(str(error))
    return int(match[1]) if match else None


def _beside(path: Path, ending: str) -> Path:
    # A name has at most 255 bytes.
    name = path.name.encode()[:200].decode(errors="ignore")
    return path.with_name(f".{name}.{ending}")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _carry_over(older: Path, new: Path, drop: Sequence[str]) -> None:
    """Puts the entries of the older folder that no pattern drops into the new one, as second names of the same files.

    So a log that is open stays the log.
    """
    shutil.copymode(older, new)
    names = {entry.name for entry in older.iterdir() if not any(fnmatch(entry.name, pattern) for pattern in drop)}
    for name in names - {entry.name for entry in new.iterdir()}:
        entry, place = older / name, new / name
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, place, symlinks=True, copy_function=_link)
            for folder in (place, *place.rglob("*/")):
                flush(folder)
        else:
            _link(entry, place)
    if names:
        flush(new)


def _link(source: str | Path, place: str | Path) -> None:
    try:
        os.link(source, place, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        # A file system without second names.
        shutil.copy2(source, place, follow_symlinks=False)


def _swap(path: Path, new: Path, old: Path) -> None:
    """Gives the new folder its name, in one step where the system can."""
    if path.exists() and not _exchange(path, new):
        path.rename(old)
    if not path.exists():
        new.rename(path)


def _exchange(path: Path, new: Path) -> bool:
    """Exchanges two names in one step; False where the system cannot."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    return rename is not None and not rename(AT_FDCWD, os.fsencode(path), AT_FDCWD, os.fsencode(new), RENAME_EXCHANGE)
