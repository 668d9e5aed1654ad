"""TensorBoard's events: readable by TensorBoard, and a disk without room ends them with a warning, not the training."""

import errno
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.logger import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from textrl_env.agents.on_policy import run_logger
from textrl_env.agents.on_policy.event_file import EventLog
from textrl_env.agents.on_policy.log_files import JSONRows


def read_scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Curves as TensorBoard reads them."""
    events = EventAccumulator(str(folder)).Reload()
    return {tag: [(entry.step, entry.value) for entry in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_reads_every_row_while_the_run_goes_on(tmp_path: Path) -> None:
    logger = run_logger(tmp_path, verbose=0)
    before = threading.active_count()
    for update in range(1, 6):
        logger.record("time/iterations", update)
        logger.record("train/loss", update / 7)
        logger.record("note", "a text")
        logger.record("weights", np.arange(5.0))
        logger.dump(update)
        assert [step for step, _ in read_scalars(tmp_path)["train/loss"]] == list(range(1, update + 1))
    logger.close()
    assert [value for _, value in read_scalars(tmp_path)["train/loss"]] == pytest.approx([n / 7 for n in range(1, 6)])
    tags = EventAccumulator(str(tmp_path)).Reload().Tags()
    assert tags["histograms"] == ["weights"] and "note/text_summary" in tags["tensors"]
    assert threading.active_count() == before, "no thread whose faults nobody sees"


def test_pictures_are_written_too(tmp_path: Path) -> None:
    from matplotlib import pyplot

    logger = run_logger(tmp_path, verbose=0)
    logger.record("picture", Figure(pyplot.figure(), close=True), exclude=("json", "csv"))
    logger.dump(1)
    logger.close()
    assert EventAccumulator(str(tmp_path)).Reload().Tags()["images"] == ["picture"]


class FullDisk:
    """A file on a disk that has room for `room` bytes more."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: bytes) -> int:
        if len(data) > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= len(data)
        return int(self.file.write(data))

    def flush(self) -> None:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.file.flush()

    def close(self) -> None:
        self.file.close()


@pytest.mark.filterwarnings("default::UserWarning")
@pytest.mark.parametrize("room", [0, 10, 500, 2000])
def test_a_full_disk_ends_the_curves_and_not_the_training(
    room: int, make_ppo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    opened = Path.open

    def open_full(path: Path, *arguments: Any, **options: Any) -> Any:
        file = opened(path, *arguments, **options)
        return FullDisk(file, room) if "tfevents" in path.name else file

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.warns(UserWarning, match=r"TensorBoard's curves end here \(no space left on device\)") as warned:
        make_ppo(log_dir=tmp_path).learn(total_updates=4)
    assert sum("TensorBoard" in str(entry.message) for entry in warned) == 1
    assert len((tmp_path / "progress.jsonl").read_text().splitlines()) >= 4
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.filterwarnings("default::UserWarning")
def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.warns(UserWarning, match="permission denied"):
        log = EventLog(str(tmp_path))
    log.write({"a": 1.0}, {"a": ()}, 1)
    log.close()
    log.close()


def test_two_logs_of_one_second_are_two_files(tmp_path: Path) -> None:
    logs = [EventLog(str(tmp_path)) for _ in range(3)]
    for number, log in enumerate(logs):
        log.write({"a": float(number)}, {"a": ()}, number)
        log.close()
    assert len(list(tmp_path.iterdir())) == 3
    assert sorted(value for _, value in read_scalars(tmp_path)["a"]) == [0.0, 1.0, 2.0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
def test_rows_that_find_no_room_name_their_file(tmp_path: Path) -> None:
    logger = run_logger(tmp_path, verbose=0)
    (rows,) = (writer for writer in logger.output_formats if isinstance(writer, JSONRows))
    rows._file.close()
    rows._file = open("/dev/full", "ab", buffering=0)  # noqa: SIM115
    logger.record("train/loss", 1.0)
    with pytest.raises(OSError, match="No space left") as raised:
        logger.dump(1)
    assert raised.value.filename == "/dev/full"
    logger.close()
