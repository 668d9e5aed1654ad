"""Every few updates one plain line: how it goes, and what to do if it does not."""

from collections.abc import Callable

from textrl_env.agents.callbacks.rows import RowCallback
from textrl_env.agents.callbacks.verdicts import verdict
from textrl_env.errors import require_at_least


class Verdict(RowCallback):
    """Says the verdict of `textrl_env.agents.callbacks.verdicts` on the log so far.

    Args:
        every_updates: rows of the log between lines, at least 1.
        say: what to do with the line.
    """

    def __init__(self, every_updates: int = 10, *, say: Callable[[str], object] = print) -> None:
        super().__init__()
        require_at_least(1, every_updates=every_updates)
        self.every_updates, self.say = every_updates, say
        self._rows: list[dict[str, float]] = []

    def _on_row(self, row: dict[str, float]) -> None:
        if "objective/scores" in row:
            self._rows.append(row)
            if len(self._rows) % self.every_updates == 0:
                self.say(verdict(self._rows))
