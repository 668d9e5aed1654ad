"""Every path option of every command, with every kind of path that cannot be: one line, before anything starts."""

import errno
import os
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from textrl_env.cli import TOOLS, main
from textrl_env.cli.option_forms import FLAT
from textrl_env.cli.quickstart import Quickstart
from textrl_env.cli.stages import STAGES, StageCommand
from textrl_env.pipeline.option_paths import check_paths, list_paths
from textrl_env.pipeline.option_paths.paths import INPUT_FOLDER, PathUse

# What a command needs besides the path that is tried.
NEEDED = {
    "generate": {"--policy": "a", "--prompts": "b", "--out": "c"},
    "import-labels": {"--file": "a"},
    "balance": {"": "rows.jsonl", "--by": "a"},
    "chat": {"": "run"},
    "lint": {"": "rows.jsonl"},
    "raters": {"": "rows.jsonl"},
    "slices": {"--by": "a"},
}
LONG = "n" * 300


def path_options(kind: Any, prefix: str = "") -> Iterator[tuple[str, str, PathUse]]:
    """The flag ("" of a positional one), the field and the use of every path among the options of a class."""
    plain, hints = get_type_hints(kind), get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        if is_dataclass(plain[field.name]):
            yield from path_options(plain[field.name], prefix if field.name in FLAT else f"{prefix}{field.name}.")
        elif "pathlib.Path" in str(hints[field.name]) or plain[field.name] is Path:
            text = str(hints[field.name])
            uses = [PathUse(w, f) for w in (False, True) for f in (False, True) if str(PathUse(w, f)) in text]
            is_positional = "Positional" in text
            flag = "" if is_positional else f"--{prefix}{field.name}".replace("_", "-")
            yield flag, field.name, uses[0] if uses else INPUT_FOLDER


def all_path_options() -> Iterator[tuple[str, str, str, PathUse]]:
    for command, kind in (TOOLS | {"quickstart": Quickstart}).items():
        yield from ((command, *option) for option in path_options(kind))
    for command, entry in STAGES.items():
        for kind in (StageCommand, entry.options):
            yield from ((command, *option) for option in path_options(kind))


OPTIONS = sorted(all_path_options(), key=str)


def test_the_options_are_the_ones_there_are() -> None:
    places = {(command, name) for command, _, name, _ in OPTIONS}
    assert len(places) > 50 and {command for command, _ in places} == {*TOOLS, *STAGES, "quickstart"}
    assert {("sft", "config"), ("ppo", "critic_from"), ("lint", "data"), ("ai-feedback", "human")} <= places
    assert {("label", "reward_models"), ("report", "run_dir"), ("generate", "out")} <= places
    written = {(command, name) for command, _, name, use in OPTIONS if use.writes and command not in STAGES}
    assert written == {
        *(("generate", "out"), ("label", "database"), ("import-labels", "database"), ("export-labels", "out")),
        *(("report", "run_dir"), ("raters", "out"), ("raters", "weighted"), ("balance", "out"), ("quickstart", "out")),
        *(("lint", "json"), ("slices", "json"), ("doctor", "json")),
    }


@pytest.fixture
def wrong_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Paths of which none can be read or written, whatever the option."""
    monkeypatch.chdir(tmp_path)
    for name in ("rows.jsonl", "b", "c", "file"):
        Path(name).write_text("")
    Path("folder").mkdir()
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    return {
        "NUL": "a\0b",
        "long": LONG,
        "long folder": f"{LONG}/name",
        "very long": "/".join(["n" * 200] * 30),
        "no UTF-8": "caf\udce9.jsonl",
        "loop": "loop",
        "pipe": "pipe",
        "device": "/dev/zero",
    }


def run_and_read(command: str, flag: str, path: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says on stderr that gets a path; its exit code is 2."""
    needed = dict(NEEDED.get(command, {}))
    needed.pop(flag, None)
    arguments = [command]
    for option, value in needed.items():
        arguments += [option, value] if option else [value]
    arguments += [f"{flag}={path}"] if flag else [path]
    if command == "report" and not flag:
        arguments = [command, "rm", path]
    if command == "report" and flag != "--run-dir" and flag:
        arguments = [command, "rm", "run", f"{flag}={path}"]
    with pytest.raises(SystemExit) as end:
        main(arguments)
    shown = capsys.readouterr()
    assert end.value.code == 2, (end.value.code, shown)
    return shown.err


@pytest.mark.parametrize(
    ("command", "flag", "name", "use"), [pytest.param(*entry, id=f"{entry[0]}-{entry[2]}") for entry in OPTIONS]
)
def test_a_path_that_can_be_none_is_one_line_with_the_option(
    command: str, flag: str, name: str, use: PathUse, wrong_paths: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    paths = dict(wrong_paths)
    if use.is_file:
        paths["a folder"] = "folder"
    else:
        paths["a file"] = "file"
    if use.writes:
        paths |= {"below a file": "file/name", "kernel's": "/proc/name", "no driver": "/sys/name"}
    for kind, path in paths.items():
        message = run_and_read(command, flag, path, capsys)
        assert message.startswith(f"textrl: {name}: ") and message.count("\n") == 1, (kind, message)
        assert len(message) < 450 and message.isascii()


@pytest.mark.parametrize(
    ("command", "flag", "name", "use"),
    [pytest.param(*entry, id=f"{entry[0]}-{entry[2]}") for entry in OPTIONS if entry[1] != "--config"],
)
def test_what_the_user_may_not_read_or_write_is_one_line(
    command: str,
    flag: str,
    name: str,
    use: PathUse,
    wrong_paths: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Root may do everything, so the system's answer to anybody else is put in its place."""

    Path("private.jsonl").write_text("")
    Path("private").mkdir()
    for call in ("open", "listdir", "mkdir"):
        original = getattr(os, call)

        def refuse(path: Any, *arguments: Any, original: Any = original, **options: Any) -> Any:
            if "private" in str(path):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return original(path, *arguments, **options)

        monkeypatch.setattr(os, call, refuse)
    message = run_and_read(command, flag, "private.jsonl" if use.is_file else "private", capsys)
    assert message.startswith(f"textrl: {name}: ") and message.endswith("(permission denied)\n")


# Commands, the option that is written, and those that are read and are files.
CLASHES = sorted(
    (command, flag, name, source, source_name)
    for command, flag, name, use in OPTIONS
    for other, source, source_name, source_use in OPTIONS
    if command == other and use.writes and use.is_file and not source_use.writes and source_use.is_file
)


@pytest.mark.parametrize(
    ("command", "flag", "name", "source", "source_name"),
    [pytest.param(*entry, id=f"{entry[0]}-{entry[2]}-{entry[4]}") for entry in CLASHES],
)
@pytest.mark.parametrize("link", ["same", "dotted", "absolute", "symbolic", "hard"])
def test_an_output_is_never_an_input(
    command: str,
    flag: str,
    name: str,
    source: str,
    source_name: str,
    link: str,
    wrong_paths: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = '{"prompt": "p", "chosen": "a", "rejected": "b"}\n'
    Path("data.jsonl").write_text(text)
    Path("symbolic").symlink_to("data.jsonl")
    os.link("data.jsonl", "hard")
    paths = {"same": "data.jsonl", "dotted": "./folder/../data.jsonl", "absolute": str(Path("data.jsonl").absolute())}
    needed = {key: value for key, value in NEEDED.get(command, {}).items() if key not in (flag, source)}
    options = [part for key, value in needed.items() for part in ([key, value] if key else [value])]
    options += [f"{flag}={paths.get(link, link)}", *([f"{source}=data.jsonl"] if source else ["data.jsonl"])]
    with pytest.raises(SystemExit) as end:
        main([command, *options])
    message = capsys.readouterr().err
    assert end.value.code == 2
    assert message.startswith(f"textrl: {name}: ") and message.endswith(
        f"is also what is read ({source_name}); name another file\n"
    )
    assert Path("data.jsonl").read_text() == text


@pytest.mark.parametrize(
    ("command", "flag", "inside"),
    [
        ("revise", "--completions", "revisions/preferences.jsonl"),
        ("ai-feedback", "--completions", "ai_feedback/preferences.jsonl"),
        ("ai-feedback", "--human", "ai_feedback/mixed.jsonl"),
        ("sft", "--demonstrations", "sft/rows.jsonl"),
        ("sft", "--model", "sft"),
        ("reward-model", "--heldout", "reward_model/rows.jsonl"),
        ("ppo", "--policy", "policy"),
        ("train", "--policy", "rloo/policy"),
        ("dpo", "--preferences", "dpo/rows.jsonl"),
        ("evaluate", "--prompts", "evaluation/completions.jsonl"),
    ],
)
def test_a_stage_does_not_read_where_it_writes(
    command: str, flag: str, inside: str, wrong_paths: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path("run") / inside
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix:
        path.write_text('{"prompt": "p", "completion": "a", "chosen": "a", "rejected": "b"}\n')
    else:
        path.mkdir(exist_ok=True)
    before = sorted(Path("run").rglob("*"))
    with pytest.raises(SystemExit) as end:
        main([command, "--run-dir", "run", flag, str(path)])
    assert end.value.code == 2
    assert f": {path}: lies in run/{Path(inside).parts[0]}" in capsys.readouterr().err
    assert sorted(Path("run").rglob("*")) == before


def test_the_check_leaves_everything_as_it_is(wrong_paths: dict[str, str]) -> None:
    command = TOOLS["balance"](data=Path("rows.jsonl"), by="a", out=Path("new/deep/rows.jsonl"))
    check_paths(command)
    assert not Path("new").exists() and Path("rows.jsonl").read_text() == ""
    assert {entry.option for entry in list_paths(command)} == {"data", "out"}


def test_a_link_to_what_is_not_there_yet_is_written_through(wrong_paths: dict[str, str]) -> None:
    Path("new.jsonl").symlink_to("folder/rows.jsonl")
    check_paths(TOOLS["balance"](data=Path("rows.jsonl"), by="a", out=Path("new.jsonl")))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO, errno.EROFS])
def test_a_fault_of_the_disk_in_the_middle_is_one_line(
    number: int, wrong_paths: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: Any) -> None:
        raise OSError(number, os.strerror(number), os.path.abspath("folder/rows.jsonl"))

    monkeypatch.setattr(TOOLS["balance"], "run", fail)
    with pytest.raises(SystemExit) as end:
        main(["balance", "rows.jsonl", "--by", "a", "--out", "folder/rows.jsonl"])
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("textrl: out: ") and os.strerror(number).lower() in message.lower()


def test_a_fault_that_is_about_no_path_of_the_user_is_seen_as_it_is(
    wrong_paths: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any) -> None:
        raise FileNotFoundError(errno.ENOENT, "gone", "/usr/share/of/the/program")

    monkeypatch.setattr(TOOLS["balance"], "run", fail)
    with pytest.raises(FileNotFoundError):
        main(["balance", "rows.jsonl", "--by", "a", "--out", "folder/rows.jsonl"])
