"""Callbacks that read the log, row by row, as it is written."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter


class _Reader(KVWriter):
    """An output of the logger that hands each row's numbers on."""

    def __init__(self, read: Callable[[dict[str, float]], None]) -> None:
        self._read = read

    def write(self, key_values: Mapping[str, Any], key_excluded: Mapping[str, tuple[str, ...]], step: int = 0) -> None:
        self._read({tag: value for tag, value in key_values.items() if isinstance(value, int | float)})

    def close(self) -> None:
        """Holds nothing open."""


class RowCallback(BaseCallback):
    """A callback that is given each row of the log: the rollout's tags and those of the update that followed.

    Stable-Baselines3's events come before the update; only the logger sees both together.
    """

    def _on_training_start(self) -> None:
        self._reader = _Reader(self._on_row)
        self.logger.output_formats.append(self._reader)

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self.logger.output_formats.remove(self._reader)

    @abstractmethod
    def _on_row(self, row: dict[str, float]) -> None:
        """Called with the row's numbers, by tag."""
