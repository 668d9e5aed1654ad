"""TensorBoard's events, written in the thread that trains; a full disk ends them and not the training.

TensorBoard's own writer hands events to a thread, whose faults end as a traceback on the terminal and, later, as an
exception in the training.
"""

import os
import socket
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import TensorBoardOutputFormat
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.writer import FileWriter, SummaryWriter


class EventFile:
    """A file of events with the interface of TensorBoard's `EventFileWriter`.

    The first fault is a warning; what comes after it is dropped.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._file: Any = None
        stamp = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
        # Two writers of one second, such as those of a run and of its resumption in one process, need two names.
        number = next(n for n in range(10_000) if not (Path(folder) / f"{stamp}.{n}").exists())
        self.path = Path(folder) / f"{stamp}.{number}"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("wb")
        except OSError as error:
            self._give_up(error)
        self._records = RecordWriter(self._file)
        self.add_event(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def get_logdir(self) -> str:
        """Returns the folder."""
        return self.folder

    def add_event(self, event: Any) -> None:
        """Writes an event."""
        if self._file is not None:
            self._try(lambda: self._records.write(event.SerializeToString()))

    def flush(self) -> None:
        """Hands what was written to the system."""
        if self._file is not None:
            self._try(self._file.flush)

    def close(self) -> None:
        """Closes the file; nothing more is written."""
        if self._file is not None:
            file, self._file = self._file, None
            try:
                file.close()
            except OSError as error:
                self._give_up(error)

    def reopen(self) -> None:
        """Leaves a closed file closed: one run writes one file."""

    def _try(self, action: Any) -> None:
        try:
            action()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        file, self._file = self._file, None
        warnings.warn(
            f"{self.path}: TensorBoard's curves end here ({(error.strerror or str(error)).lower()}); training goes on, "
            "and progress.csv and progress.jsonl have its numbers",
            stacklevel=2,
        )
        # Closing writes what is buffered, and fails once more.
        with suppress(OSError):
            if file is not None:
                file.close()


class _Summaries(SummaryWriter):
    """torch's writer of scalars, texts and pictures, with an `EventFile` under it."""

    file_writer: Any
    all_writers: Any

    def _get_file_writer(self) -> Any:
        if self.file_writer is None:
            writer: Any = FileWriter.__new__(FileWriter)
            writer.event_writer = EventFile(str(self.log_dir))
            self.file_writer, self.all_writers = writer, {writer.get_logdir(): writer}
        return self.file_writer


class EventLog(TensorBoardOutputFormat):
    """Stable-Baselines3's output for TensorBoard, into an `EventFile`."""

    def __init__(self, folder: str) -> None:
        self.writer = _Summaries(log_dir=folder)
        self._is_closed = False
