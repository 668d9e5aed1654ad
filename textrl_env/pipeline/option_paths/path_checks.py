"""The check of all paths among options, before anything is read, loaded or written."""

import errno
import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from textrl_env.files import NEW
from textrl_env.pipeline.option_paths.paths import OptionPath, PathUse, list_paths, show_path

NAMELESS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
"""Faults of the medium: writing and reading an open file does not say which one it was."""
TERMINAL = "-"
"""A file's name that stands for the terminal."""


def check_paths(options: Any, *, folders: Sequence[Path] = (), only_reads: bool = False) -> None:
    """Raises InputError, which names option and path, unless all paths of a dataclass of options can be used.

    A path is refused where it can be no path, where a file stands in the place of a folder or the reverse, where it
    cannot be read or written, and where what is written would replace what is read.

    Args:
        options: a dataclass, its groups included.
        folders: further folders that are written to; no input may lie in them.
        only_reads: nothing will be written, so outputs are not looked at.
    """
    paths = [entry for entry in list_paths(options) if str(entry.path) != TERMINAL or not entry.use.writes]
    for entry in paths:
        fault = _find_path_fault(entry.path)
        if fault is None and not entry.use.writes:
            fault = _find_reading_fault(entry.path, entry.use)
        if fault:
            raise entry.refuse(fault)
    if not only_reads:
        outputs = [entry for entry in paths if entry.use.writes]
        stage = PathUse(writes=True, is_file=False)
        _check_outputs([*outputs, *(OptionPath("run_dir", folder, stage) for folder in folders)])
        inputs = [entry for entry in paths if not entry.use.writes]
        _check_that_inputs_stay(inputs, [entry for entry in outputs if entry.use.is_file], folders)


def _check_outputs(outputs: Sequence[OptionPath]) -> None:
    for entry in outputs:
        if fault := _find_writing_fault(entry.path, entry.use):
            raise entry.refuse(fault)


def _check_that_inputs_stay(inputs: Sequence[OptionPath], files: Sequence[OptionPath], folders: Sequence[Path]) -> None:
    """Raises InputError where one of the files or folders to write would replace an input."""
    for source in inputs:
        for entry in files:
            if _are_same(entry.path, source.path):
                raise entry.refuse(f"is also what is read ({source.option}); name another file")
        for folder in folders:
            if Path(os.path.realpath(source.path)).is_relative_to(os.path.realpath(folder)):
                raise source.refuse(f"lies in {show_path(folder)}, where this stage writes; take another run's folder")


def describe_file_error(error: OSError, options: Any) -> str | None:
    """Says in a line which path of the options an error of the file system is about; None where it is about none.

    Such an error is the user's to put right: the disk is full, a folder vanished. Any other one is a fault of the
    program, and has to be seen as it is.
    """
    names = [Path(os.path.abspath(os.fsdecode(name))) for name in (error.filename, error.filename2) if name]
    if not names:
        return f"a file {_describe(error)}" if error.errno in NAMELESS else None
    for entry in list_paths(options):
        path = Path(os.path.abspath(entry.path))
        for name in names:
            if name.is_relative_to(path) or path.is_relative_to(name):
                return f"{entry.option}: {show_path(name)}: {_describe(error)}"
    return None


def _find_path_fault(path: Path) -> str | None:
    """Says why a path can be no path here, whatever stands there."""
    try:
        os.fsencode(path).decode("utf-8")
        os.stat(path)
    except UnicodeError:
        return "its name is not UTF-8; rename it"
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        return "a path cannot hold a NUL character"
    except OSError as error:
        return _describe(error)
    return None


def _find_reading_fault(path: Path, use: PathUse) -> str | None:
    """Says why what stands there cannot be read; whether it must be there its reader knows."""
    if not path.exists():
        return None
    if path.is_dir():
        return "is a folder, expected a file" if use.is_file else _try("read", os.listdir, path)
    if not path.is_file():
        return f"is {_name_kind(path)}, expected {'a file' if use.is_file else 'a folder'}"
    return _try("read", _open_and_close, path, os.O_RDONLY) if use.is_file else "is a file, expected a folder"


def _find_writing_fault(path: Path, use: PathUse) -> str | None:
    """Says why nothing can be written there; leaves everything as it is."""
    place = Path(os.path.realpath(path))
    if use.is_file and place.exists():
        if place.is_dir():
            return "is a folder, expected the file to write"
        if not place.is_file():
            return f"is {_name_kind(place)}, expected the file to write"
        return _try("written", _open_and_close, place, os.O_WRONLY)
    folder = place.parent if use.is_file else place
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        return "is a file, expected a folder" if folder == place else f"{show_path(folder)} is a file, not a folder"
    return _try("written to", _make_and_remove, folder)


def _try(deed: str, action: Any, *arguments: Any) -> str | None:
    try:
        action(*arguments)
    except OSError as error:
        return _describe(error, deed)
    return None


def _open_and_close(path: Path, flags: int) -> None:
    os.close(os.open(path, flags))


def _make_and_remove(folder: Path) -> None:
    # Of a process that is killed in between, the next one sweeps it.
    os.rmdir(tempfile.mkdtemp(prefix=".probe-", suffix=f".{NEW}", dir=folder))


def _describe(error: OSError, deed: str = "used") -> str:
    reason = error.strerror or str(error)
    return f"cannot be {deed} ({reason[:1].lower()}{reason[1:]})"


def _name_kind(path: Path) -> str:
    mode = path.stat().st_mode
    if stat.S_ISFIFO(mode):
        return "a pipe"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def _are_same(first: Path, second: Path) -> bool:
    """True where two paths name one file, by whatever links."""
    if os.path.realpath(first) == os.path.realpath(second):
        return True
    return first.exists() and second.exists() and first.samefile(second)
