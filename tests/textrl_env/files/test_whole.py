"""Files and folders are there whole or not at all, and nothing beside them is touched."""

import os
import stat
from pathlib import Path

import pytest

from textrl_env import InputError
from textrl_env.files import exporting, find_whole, replacing, sweep, write_bytes, write_text


def texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_file_is_replaced_with_its_permissions_and_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target.txt", tmp_path / "link.txt"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_text(link, "new ↵\n")
    assert link.is_symlink() and target.read_text() == "new ↵\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.txt", "target.txt"]


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_bytes(tmp_path / "pipe", b"rows")
    assert os.read(reader, 100) == b"rows" and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    os.close(reader)


@pytest.mark.parametrize("name", ["x" * 300, "folder", "file/below"])
def test_what_cannot_be_written_is_named_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("a file")
    with pytest.raises(InputError, match="could not be written") as raised:
        write_text(tmp_path / name, "text")
    assert str(raised.value).startswith(str(tmp_path / name)) and "\n" not in str(raised.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_an_export_replaces_the_model_and_leaves_the_rest_with_the_files_that_are_open(tmp_path: Path) -> None:
    """Of the older model nothing stays: no shard, no adapter, no template, no vocabulary."""
    folder = tmp_path / "sft"
    older = "config.json model-00001-of-00002.safetensors model.safetensors.index.json vocab.json adapter/x.safetensors"
    rest = "checkpoints/update-000001/manifest.json progress.jsonl notes.txt report_card.json"
    for name in f"{older} chat_template.jinja metrics.json {rest}".split():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "tensorboard").symlink_to(tmp_path)
    with (folder / "progress.jsonl").open("a") as log:
        with exporting(folder) as new:
            (new / "config.json").write_text("new")
            assert texts(folder)["config.json"] == "config.json", "the older one stays until the new one is whole"
        log.write(" goes on")
    assert texts(folder) == {"config.json": "new", **{name: name for name in rest.split()}} | {
        "progress.jsonl": "progress.jsonl goes on"
    }
    assert (folder / "tensorboard").is_symlink()


class SuddenError(BaseException):
    """As Ctrl-C is."""


def test_an_error_on_the_way_leaves_the_older_folder(tmp_path: Path) -> None:
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "config.json").write_text("old")

    def write_half() -> None:
        with replacing(tmp_path / "best") as new:
            (new / "config.json").write_text("half")
            raise SuddenError

    with pytest.raises(SuddenError):
        write_half()
    assert texts(tmp_path) == {"best/config.json": "old"}


def test_a_crash_between_two_renames_is_mended(tmp_path: Path) -> None:
    """Where the system cannot exchange two names, there is a moment without either."""
    (tmp_path / ".best.textrl-old").mkdir()
    (tmp_path / ".best.textrl-new").mkdir()
    (tmp_path / ".best.textrl-old" / "config.json").write_text("old")
    assert find_whole(tmp_path / "best") == tmp_path / ".best.textrl-old"
    sweep(tmp_path)
    assert texts(tmp_path) == {"best/config.json": "old"} and len(list(tmp_path.iterdir())) == 1


def test_without_an_exchange_of_names_the_end_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textrl_env.files.whole._exchange", lambda path, new: False)
    for text in ("one", "two"):
        with replacing(tmp_path / "best") as new:
            (new / "config.json").write_text(text)
    assert texts(tmp_path) == {"best/config.json": "two"} and len(list(tmp_path.iterdir())) == 1
