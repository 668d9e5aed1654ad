"""Ready-made reward terms about a completion's form: its length, its end, its repetitions."""

from dataclasses import dataclass
from typing import Any

from textrl_env.errors import require_count


@dataclass(frozen=True)
class LengthPenalty:
    """-1 per token beyond `free` tokens; combine it with a small weight."""

    free: int

    def __post_init__(self) -> None:
        require_count(0, free=self.free)

    def __call__(self, completion_ids: list[list[int]], **columns: Any) -> list[float]:
        """Returns B penalties of 0 or less."""
        return [-float(max(0, len(ids) - self.free)) for ids in completion_ids]


@dataclass(frozen=True)
class MissingEOSPenalty:
    """-1 for a completion that ran into the length limit instead of ending by itself."""

    def __call__(self, finish_reason: list[str], **columns: Any) -> list[float]:
        """Returns B penalties, -1 or 0."""
        return [-1.0 if reason == "length" else 0.0 for reason in finish_reason]


@dataclass(frozen=True)
class RepetitionPenalty:
    """Minus the share of n-grams of tokens that repeat an earlier one of the same completion, in [-1, 0]."""

    n: int = 3

    def __post_init__(self) -> None:
        require_count(1, n=self.n)

    def __call__(self, completion_ids: list[list[int]], **columns: Any) -> list[float]:
        """Returns B penalties in [-1, 0]."""
        return [-self._repeated_share(ids) for ids in completion_ids]

    def _repeated_share(self, ids: list[int]) -> float:
        grams = [tuple(ids[start : start + self.n]) for start in range(len(ids) - self.n + 1)]
        return 1 - len(set(grams)) / len(grams) if grams else 0.0
