"""Where training writes its numbers: Stable-Baselines3's logger with TensorBoard, CSV, JSON lines and stdout."""

import json
import sys
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import (
    CSVOutputFormat,
    HumanOutputFormat,
    JSONOutputFormat,
    KVWriter,
    Logger,
    TensorBoardOutputFormat,
)


def run_logger(
    folder: str | Path | None, *, verbose: int, after: int = 0, counted_by: str = "time/iterations"
) -> Logger:
    """A logger into `folder` (`progress.csv`, `progress.jsonl`, TensorBoard events); stdout too if `verbose`.

    Files of an earlier run are replaced; but the lines of its first `after` updates stay, where this one goes on.
    `counted_by` is the column that numbers them.
    """
    writers: list[KVWriter] = [HumanOutputFormat(sys.stdout)] if verbose else []
    if folder is not None:
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        kept = [row for row in _rows(path / "progress.jsonl") if 0 < row.get(counted_by, 0) <= after]
        tables: list[KVWriter] = [
            CSVOutputFormat(str(path / "progress.csv")),
            JSONOutputFormat(str(path / "progress.jsonl")),
        ]
        for row in kept:
            for table in tables:
                table.write(row, dict.fromkeys(row, ()))
        writers += [*tables, TensorBoardOutputFormat(str(path))]
    return Logger(str(folder) if folder is not None else None, writers)


class UnwrittenLog(Logger):
    """The logger of a process that leaves writing to another: numbers can be recorded and read, and make no rows."""

    def __init__(self) -> None:
        super().__init__(None, [])

    def dump(self, step: int = 0) -> None:
        """Ends the row, which nobody is shown."""
        for numbers in (self.name_to_value, self.name_to_count, self.name_to_excluded):
            numbers.clear()


def _rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; a killed process may have left half a line at the end."""
    lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("}\n")]
