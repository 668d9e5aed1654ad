"""Where training writes its numbers: Stable-Baselines3's logger with TensorBoard, CSV, JSON lines and stdout."""

import sys
from pathlib import Path

from stable_baselines3.common.logger import (
    CSVOutputFormat,
    HumanOutputFormat,
    JSONOutputFormat,
    KVWriter,
    Logger,
    TensorBoardOutputFormat,
)


def run_logger(folder: str | Path | None, *, verbose: int) -> Logger:
    """A logger into `folder` (`progress.csv`, `progress.jsonl`, TensorBoard events); stdout too if `verbose`."""
    writers: list[KVWriter] = [HumanOutputFormat(sys.stdout)] if verbose else []
    if folder is not None:
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        writers += [
            CSVOutputFormat(str(path / "progress.csv")),
            JSONOutputFormat(str(path / "progress.jsonl")),
            TensorBoardOutputFormat(str(path)),
        ]
    return Logger(str(folder) if folder is not None else None, writers)
