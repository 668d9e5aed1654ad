"""Whatever ends a save, and whenever, a whole checkpoint is there: the older one or the new one."""

import errno
import os
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from stable_baselines3.common.callbacks import BaseCallback

from textrl_env import InputError
from textrl_env.agents import PPO
from textrl_env.agents.on_policy import SaveCheckpoints
from textrl_env.training import checkpoints
from textrl_env.training.checkpoints import CheckpointSaver
from textrl_env.training.checkpoints.run_checkpoints import list_checkpoints

CHANGING = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"}


class Crash(BaseException):
    """The process is dead: no handler of the program's own may run on."""


class Disk:
    """Counts the calls that change files below `root`; from call `limit` on each raises `error`.

    Python tells an audit hook of its own calls; `os.fsync` and the writing of safetensors are patched.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.limit, self.calls = "", 0.0, -1
        self.error: type[BaseException] = Crash
        self.flushed: set[int] = set()
        fsync, serialize = os.fsync, safetensors.torch.serialize_file

        def flush(descriptor: int) -> None:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            self.call(path)
            fsync(descriptor)
            self.flushed.add(os.fstat(descriptor).st_ino)

        def write(data: Any, path: Any, metadata: Any = None) -> None:
            self.call(str(path))
            serialize(data, path, metadata=metadata)

        monkeypatch.setattr(os, "fsync", flush)
        monkeypatch.setattr(safetensors.torch, "serialize_file", write)

    def watch(self, root: Path, limit: float, error: type[BaseException] = Crash) -> None:
        self.root, self.limit, self.error = str(root), limit, error
        self.calls, self.flushed = 0, {file.stat().st_ino for file in root.rglob("*")}

    def rest(self) -> None:
        self.calls = -1

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if self.calls >= 0 and (writes or event in CHANGING) and isinstance(arguments[0], str | bytes | os.PathLike):
            self.call(os.fsdecode(arguments[0]), needs_room=event in ("open", "os.mkdir"))

    def call(self, path: str, *, needs_room: bool = True) -> None:
        # `shutil.rmtree` names files relative to a folder it holds open.
        if self.calls < 0 or not (path.startswith(self.root) or not os.path.isabs(path)):
            return
        self.calls += 1
        if self.calls > self.limit and (needs_room or self.error is Crash):
            raise self.error

    def lose_what_was_not_flushed(self) -> None:
        """As a power cut does."""
        self.rest()
        for file in Path(self.root).rglob("*"):
            if file.is_file() and file.stat().st_ino not in self.flushed:
                os.truncate(file, file.stat().st_size // 2)


_disks: list[Disk] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _disks and (event == "open" or event in CHANGING):
        _disks[-1].audit(event, arguments)


sys.addaudithook(_hook)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    _disks.append(Disk(monkeypatch))
    yield _disks[-1]
    _disks.pop()


@pytest.fixture
def ppo(make_ppo: Any) -> PPO:
    return make_ppo(critic="shared", n_epochs=1, env={"max_new_tokens": 2})  # type: ignore[no-any-return]


def updates(path: Path) -> int:
    """Which checkpoint it is; every byte is checked against the manifest."""
    state = (checkpoints.check(path) / "trainer" / "state.json").read_text()
    return int(state.partition('"n_updates": ')[2].partition(",")[0])


def n_calls(disk: Disk, root: Path, act: Callable[[], object]) -> int:
    disk.watch(root, float("inf"))
    act()
    calls = disk.calls
    disk.rest()
    return calls


class FullDiskError(OSError):
    """There is no room for more; deleting and renaming go on to work."""

    def __init__(self) -> None:
        super().__init__(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_crash_at_every_call_leaves_the_older_checkpoint_or_the_new_one(ppo: PPO, disk: Disk, tmp_path: Path) -> None:
    """Also when the power fails, and what was not flushed is lost."""
    ppo.learn(total_updates=1).save(tmp_path / "older" / "run")
    ppo.learn(total_updates=1)
    shutil.copytree(tmp_path / "older", tmp_path / "trial")
    total = n_calls(disk, tmp_path / "trial", lambda: ppo.save(tmp_path / "trial" / "run"))
    assert total > 30
    found = []
    for k in range(total):
        shutil.rmtree(tmp_path / "trial")
        shutil.copytree(tmp_path / "older", tmp_path / "trial")
        disk.watch(tmp_path / "trial", k)
        with pytest.raises(Crash):
            ppo.save(tmp_path / "trial" / "run")
        disk.lose_what_was_not_flushed()
        found.append(updates(tmp_path / "trial" / "run"))
    # Once the new one is found it stays.
    assert found == sorted(found) and set(found) == {1, 2}
    # What the last crash left behind does not hinder the next save, and is gone after it.
    ppo.save(tmp_path / "trial" / "run")
    assert [path.name for path in (tmp_path / "trial").iterdir()] == ["run"]


def test_a_crash_at_every_call_of_a_folder_with_retention_leaves_a_good_checkpoint(
    ppo: PPO, disk: Disk, tmp_path: Path
) -> None:
    folder = tmp_path / "trial" / "checkpoints"
    ppo.learn(total_updates=2, callback=SaveCheckpoints(tmp_path / "older" / "checkpoints", every_updates=1, keep=1))
    saver = CheckpointSaver(folder, every_updates=1, keep=1)
    before, ppo.state.n_updates = 2, 3

    def restart() -> None:
        shutil.rmtree(tmp_path / "trial", ignore_errors=True)
        shutil.copytree(tmp_path / "older", tmp_path / "trial")
        saver.begin((before, 0))

    def save() -> None:
        saver.end(ppo.position, ppo.save)

    restart()
    total = n_calls(disk, tmp_path / "trial", save)
    found = []
    for k in range(total):
        restart()
        disk.watch(tmp_path / "trial", k)
        with pytest.raises(Crash):
            save()
        disk.lose_what_was_not_flushed()
        # No half of one stands under a checkpoint's name: neither of the one that is written nor of one that goes.
        found.append(max(updates(path) for path in list_checkpoints(folder)))
    assert found == sorted(found) and set(found) == {before, 3}
    save()
    assert [path.name for path in folder.iterdir()] == ["update-000003"]


def test_a_full_disk_at_any_call_is_said_in_one_line_and_loses_nothing(ppo: PPO, disk: Disk, tmp_path: Path) -> None:
    run = tmp_path / "trial" / "run"
    ppo.learn(total_updates=1).save(run)
    ppo.learn(total_updates=1)
    before = [value.clone() for value in ppo.policy.state_dict().values()]
    for k in count():
        disk.watch(tmp_path / "trial", k, FullDiskError)
        with pytest.raises(InputError) as raised:
            ppo.save(run)
        disk.rest()
        message = str(raised.value)
        assert message.startswith(f"{run}: could not be written (No space left on device)")
        assert "intact" in message and "\n" not in message
        if updates(run) == 2:  # It had its place already; what failed is to flush that.
            break
        assert not list(run.parent.glob(".*.textrl-new"))
    assert k > 20
    assert all(torch.equal(one, now) for one, now in zip(before, ppo.policy.state_dict().values(), strict=True))
    ppo.save(run)
    assert [path.name for path in run.parent.iterdir()] == ["run"]


class FullDuring(BaseCallback):
    """The kernel refuses to write files above a size while one update is done, as a full disk refuses all."""

    def __init__(self, update: int) -> None:
        super().__init__()
        self.update = update
        self.soft, self.hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        small = self.model.n_updates == self.update  # type: ignore[attr-defined]
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000 if small else self.soft, self.hard))


def test_training_goes_on_while_the_disk_is_full_and_saves_once_there_is_room(make_ppo: Any, tmp_path: Path) -> None:
    """safetensors writes without Python, and meets the kernel's refusal too."""
    folder, full = tmp_path / "checkpoints", FullDuring(2)
    try:
        with pytest.warns(UserWarning, match="update-000002: could not be written .* Training goes on"):
            make_ppo().learn(total_updates=4, callback=[full, SaveCheckpoints(folder, every_updates=1, keep=3)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (full.soft, full.hard))
    assert sorted(path.name for path in folder.iterdir()) == ["update-000001", "update-000003", "update-000004"]
    assert [updates(path) for path in list_checkpoints(folder)] == [4, 3, 1]
