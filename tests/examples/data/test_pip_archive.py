"""Fetching with the real pip from a folder instead of an index, and unpacking archives that are out to do harm."""

import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from data.pip_archive import PinnedArchive, cache_folder, fetch, sha256_of, unpack

from textrl_env.errors import InputError

METADATA = "Metadata-Version: 2.1\nName: tinydata\nVersion: 1.0\n"


def make_wheel(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "tinydata-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("tinydata/data.txt", "hello")
        zipped.writestr("tinydata-1.0.dist-info/METADATA", METADATA)
        zipped.writestr(
            "tinydata-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        zipped.writestr("tinydata-1.0.dist-info/RECORD", "")
    return path


def make_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def make_sdist(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    setup = b"from setuptools import setup\nsetup(name='tinydata', version='1.0', py_modules=[])\n"
    members = {"tinydata-1.0/PKG-INFO": METADATA.encode(), "tinydata-1.0/setup.py": setup, "tinydata-1.0/d.txt": b"hi"}
    return make_tar(folder / "tinydata-1.0.tar.gz", members)


def pinned(path: Path, sha256: str | None = None) -> PinnedArchive:
    return PinnedArchive("tinydata", "1.0", path.name, sha256 or sha256_of(path), 0.1)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is pip's only source."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return tmp_path / "index"


def no_pip(*args: object, **kwargs: object) -> None:
    raise AssertionError("pip was run")


def leftovers(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "archives").iterdir())


@pytest.mark.parametrize("make", [make_wheel, make_sdist])
def test_fetch_downloads_once(make: object, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_wheel(index) if make is make_wheel else make_sdist(index)
    path = fetch(pinned(source), cache=tmp_path / "cache")
    assert path.read_bytes() == source.read_bytes()
    assert leftovers(tmp_path / "cache") == [source.name]
    monkeypatch.setattr(subprocess, "run", no_pip)
    assert fetch(pinned(source), cache=tmp_path / "cache") == path


def test_users_constraints_do_not_break_the_pin(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_wheel(index)
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("tinydata==2.0\n")
    monkeypatch.setenv("PIP_CONSTRAINT", str(constraints))
    monkeypatch.setenv("PIP_NO_BINARY", ":all:")
    assert fetch(pinned(source), cache=tmp_path / "cache").is_file()


@pytest.mark.parametrize("make", [make_wheel, make_sdist])
def test_wrong_hash_names_both_and_leaves_nothing(make: object, index: Path, tmp_path: Path) -> None:
    source = make_wheel(index) if make is make_wheel else make_sdist(index)
    kept = tmp_path / "cache" / "archives" / "other.whl"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    with pytest.raises(InputError) as error:
        fetch(pinned(source, "0" * 64), cache=tmp_path / "cache")
    assert "0" * 64 in str(error.value) and sha256_of(source) in str(error.value)
    assert leftovers(tmp_path / "cache") == ["other.whl"] and kept.read_text() == "mine"


def test_wrong_hash_stops_before_setup_py_runs(index: Path, tmp_path: Path) -> None:
    index.mkdir()
    trap = tmp_path / "ran"
    code = f"from pathlib import Path\nPath({str(trap)!r}).touch()\n".encode()
    source = make_tar(
        index / "tinydata-1.0.tar.gz", {"tinydata-1.0/PKG-INFO": METADATA.encode(), "tinydata-1.0/setup.py": code}
    )
    with pytest.raises(InputError):
        fetch(pinned(source, "0" * 64), cache=tmp_path / "cache")
    assert not trap.exists()


def test_pip_that_does_not_check_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless_pip(command: list[str], **kwargs: object) -> "subprocess.CompletedProcess[bytes]":
        folder = Path(command[command.index("--dest") + 1])
        folder.mkdir()
        (folder / "tinydata-1.0-py3-none-any.whl").write_bytes(b"evil")
        return subprocess.CompletedProcess(command, 0, b"", b"")

    monkeypatch.setattr(subprocess, "run", careless_pip)
    archive = PinnedArchive("tinydata", "1.0", "tinydata-1.0-py3-none-any.whl", "0" * 64, 0.1)
    with pytest.raises(InputError, match=r"expected sha256 0{64}, got [0-9a-f]{64}"):
        fetch(archive, cache=tmp_path)
    assert leftovers(tmp_path) == []


def test_damaged_file_in_the_cache_is_fetched_again(index: Path, tmp_path: Path) -> None:
    source = make_wheel(index)
    path = fetch(pinned(source), cache=tmp_path / "cache")
    path.write_bytes(path.read_bytes()[:-1])
    assert fetch(pinned(source), cache=tmp_path / "cache").read_bytes() == source.read_bytes()


def test_nothing_to_download_says_what_to_do(index: Path, tmp_path: Path) -> None:
    source = make_wheel(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"could not fetch tinydata==1.0 .*network.*yourself"):
        fetch(pinned(source), cache=tmp_path / "cache")
    assert leftovers(tmp_path / "cache") == []


def test_python_without_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="ensurepip"):
        fetch(pinned(make_wheel(tmp_path)), cache=tmp_path / "cache")


def test_slow_pip_is_stopped(index: Path, tmp_path: Path) -> None:
    source = make_wheel(index)
    with pytest.raises(InputError, match="more than 0 s"):
        fetch(pinned(source), cache=tmp_path / "cache", timeout_s=0.001)


def test_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="TEXTRL_ENV_CACHE"):
        fetch(pinned(make_wheel(tmp_path)), cache=tmp_path / "file")


def test_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TEXTRL_ENV_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "textrl-env"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "textrl-env"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "textrl-env"
    monkeypatch.setenv("TEXTRL_ENV_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_hash_must_look_like_one() -> None:
    with pytest.raises(InputError, match="64 lower-case hex"):
        PinnedArchive("a", "1", "a.whl", "ABC", 1.0)


def test_unpack_takes_only_what_is_asked(tmp_path: Path) -> None:
    tar = make_tar(tmp_path / "a.tar.gz", {"x/wanted.txt": b"1", "x/other.txt": b"2", "../outside.txt": b"3"})
    out = tmp_path / "out"
    assert unpack(tar, ["x/wanted.txt"], out, max_bytes=10) == [out / "wanted.txt"]
    assert [path.name for path in out.iterdir()] == ["wanted.txt"]
    assert not (tmp_path / "outside.txt").exists()
    (data,) = unpack(make_wheel(tmp_path), ["tinydata/data.txt"], out, max_bytes=10)
    assert data.read_text() == "hello"


@pytest.mark.parametrize("name", ["../up.txt", "/abs.txt", "a/../../up.txt", ".", "..\\up.txt", "C:/x.txt"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_unpack_refuses_paths_that_lead_out(name: str, kind: str, tmp_path: Path) -> None:
    archive = tmp_path / "evil"
    if kind == "tar":
        make_tar(archive, {name: b"x"})
    else:
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr(name, "x")
    with pytest.raises(InputError, match="unsafe name"):
        unpack(archive, [name], tmp_path / "deep" / "out", max_bytes=10)
    assert [path.name for path in tmp_path.iterdir()] == ["evil"]


def test_unpack_refuses_links_and_folders(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, kind in (("link", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("folder", tarfile.DIRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, str(secret)
            tar.addfile(info)
    for name in ("link", "hard", "folder"):
        with pytest.raises(InputError, match="not a plain file"):
            unpack(tmp_path / "a.tar", [name], tmp_path / "out", max_bytes=10)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        zipped.writestr(link, str(secret))
    with pytest.raises(InputError, match="not a plain file"):
        unpack(tmp_path / "a.zip", ["link"], tmp_path / "out", max_bytes=100)
    assert list((tmp_path / "out").iterdir()) == []


def test_unpack_limits_the_size(tmp_path: Path) -> None:
    bomb = make_tar(tmp_path / "bomb.tar.gz", {"zeros": bytes(1_000_000)})
    assert bomb.stat().st_size < 10_000
    with pytest.raises(InputError, match="1000000 bytes, more than the limit of 999999"):
        unpack(bomb, ["zeros"], tmp_path / "out", max_bytes=999_999)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("zeros", bytes(1_000_000))
    with pytest.raises(InputError, match="more than the limit"):
        unpack(tmp_path / "bomb.zip", ["zeros"], tmp_path / "out", max_bytes=999_999)


def test_unpack_replaces_all_or_nothing(tmp_path: Path) -> None:
    tar = make_tar(tmp_path / "a.tar.gz", {"a": b"new"})
    out = tmp_path / "out"
    out.mkdir()
    (out / "a").write_text("old")
    with pytest.raises(InputError, match="holds no file 'b'"):
        unpack(tar, ["a", "b"], out, max_bytes=10)
    assert (out / "a").read_text() == "old"


def test_unpack_of_a_broken_archive(tmp_path: Path) -> None:
    whole = make_tar(tmp_path / "a.tar.gz", {"a": bytes(range(256)) * 40})
    (tmp_path / "cut.tar.gz").write_bytes(whole.read_bytes()[:-40])
    (tmp_path / "text.tar.gz").write_text("not a tar")
    for name in ("cut.tar.gz", "text.tar.gz"):
        with pytest.raises(InputError, match="cannot be unpacked"):
            unpack(tmp_path / name, ["a"], tmp_path / "out", max_bytes=100_000)
