"""Callbacks that read the log row by row: an alarm for reward hacking, and a plain line about how training goes."""

import warnings
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter

from textrl_env.agents.callbacks.verdicts import TAGS, WINDOW, verdict
from textrl_env.errors import require_above, require_count
from textrl_env.stats import mann_kendall

MOST_ROWS = 2000
"""Rows of the log that a callback remembers: a run may have a million."""


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


class RewardHackingWarning(UserWarning):
    """The proxy's trend rises and gold's falls."""


class HackingAlarm(RowCallback):
    """Warns when the trend of the proxy rises while that of gold falls (Gao, Schulman and Hilton 2023).

    Over the last `window` rows of the log that have both tags, each series must have a Mann-Kendall trend of its own
    beyond `threshold`: the proxy up, gold down. One warning per onset: the next one can come only after one of the two
    trends has changed its sign. Logs `hacking/proxy_trend` and `hacking/gold_trend` (z-scores) and `hacking/alarm`
    (0 or 1), one row of the log later than the values they judge.

    On noise, a trend passes the default threshold in about 1 of 100 windows, and both do in opposite directions in
    about 1 of 10 000 where the two are independent; where both are measured on the same completions they move
    together, and it is rarer.

    Args:
        gold: the tag of what is wanted: a gold reward (`TrackReward`), or a held-out reward (`EvaluateOnPrompts`).
        proxy: the tag of what is trained on.
        window: rows that a trend is taken over, at least 8.
        threshold: of the z-scores, above 0; 2.33 is one sided 1 %.

    Attributes:
        onsets: the updates at which it warned.
    """

    def __init__(
        self,
        gold: str = "objective/gold",
        proxy: str = "objective/scores",
        *,
        window: int = 20,
        threshold: float = 2.33,
    ) -> None:
        super().__init__()
        require_count(8, window=window)
        require_above(0, threshold=threshold)
        self.gold, self.proxy, self.threshold = gold, proxy, threshold
        self.onsets: list[int] = []
        self._recent: deque[tuple[float, float]] = deque(maxlen=window)
        self._trends: dict[str, float] = {}
        self._on = False

    def _on_rollout_end(self) -> None:
        for name, value in self._trends.items():
            self.logger.record(f"hacking/{name}", value)

    def _on_row(self, row: dict[str, float]) -> None:
        if self.gold not in row or self.proxy not in row:
            return
        self._recent.append((row[self.proxy], row[self.gold]))
        if len(self._recent) < (self._recent.maxlen or 0):
            return
        proxy, gold = (mann_kendall(series) for series in zip(*self._recent, strict=True))
        if proxy > self.threshold and gold < -self.threshold and not self._on:
            self._on = True
            self._warn(int(row.get("time/iterations", 0)))
        elif proxy <= 0 or gold >= 0:
            self._on = False
        self._trends = {"proxy_trend": proxy, "gold_trend": gold, "alarm": float(self._on)}

    def _warn(self, update: int) -> None:
        self.onsets.append(update)
        (proxy_then, gold_then), (proxy_now, gold_now) = self._recent[0], self._recent[-1]
        warnings.warn(
            f"update {update}: reward hacking: over the last {len(self._recent)} logged updates {self.proxy} went from "
            f"{proxy_then:.2f} to {proxy_now:.2f} while {self.gold} went from {gold_then:.2f} to {gold_now:.2f}. "
            "Take an earlier policy, raise the KL coefficient, or mend the reward",
            RewardHackingWarning,
            stacklevel=2,
        )


class SayVerdict(RowCallback):
    """Says every few updates in one plain line how training goes, and what to do if something is wrong.

    The rules are those of `textrl_env.agents.callbacks.verdicts`, on the log so far.

    Args:
        every_updates: rows of the log between lines, at least 1.
        say: what to do with the line.
    """

    def __init__(self, every_updates: int = 10, *, say: Callable[[str], object] = print) -> None:
        super().__init__()
        require_count(1, every_updates=every_updates)
        self.every_updates, self.say = every_updates, say
        self._rows: list[dict[str, float]] = []
        self._n_rows = 0

    def _on_row(self, row: dict[str, float]) -> None:
        if "objective/scores" not in row:
            return
        self._rows.append({tag: value for tag, value in row.items() if tag in TAGS})
        self._n_rows += 1
        if self._n_rows % self.every_updates == 0:
            self.say(verdict(self._rows))
        if len(self._rows) >= MOST_ROWS:
            # A long run's course shows in every second row as well; first and last rows are asked for themselves.
            del self._rows[1:-WINDOW:2]
