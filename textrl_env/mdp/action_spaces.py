"""The space of log-distributions, for agents that send the whole distribution they sampled from."""

from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

SUM_TOLERANCE = 0.01
"""How far from 1 the probabilities' sum may be: a distribution in half precision is not nearer."""


def sums_to_one(logprobs: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """Says which rows are log-probabilities of a distribution: (..., K) -> (...), False where there is a NaN."""
    with np.errstate(over="ignore"):
        sums: npt.NDArray[np.bool_] = np.abs(np.exp(logprobs).sum(axis=-1) - 1) <= SUM_TOLERANCE
    return sums


class LogDistribution(spaces.Box):
    """Log-probabilities of K actions in nats, (..., K) float32 of at most 0, whose probabilities sum to 1.

    Args:
        shape: (..., K).
        seed: of `sample`.
    """

    def __init__(self, shape: tuple[int, ...], seed: int | np.random.Generator | None = None) -> None:
        super().__init__(-np.inf, 0.0, shape, np.float32, seed)

    def sample(self, mask: None = None, probability: None = None) -> npt.NDArray[Any]:
        """Draws distributions uniformly from all."""
        logits = np.log(self.np_random.exponential(size=self.shape))
        normalizer = np.logaddexp.reduce(logits, axis=-1, keepdims=True)
        logprobs: npt.NDArray[Any] = np.minimum(logits - normalizer, 0.0).astype(np.float32)
        return logprobs

    def contains(self, x: Any) -> bool:
        """Says whether `x` is of the right shape, and each of its rows a distribution."""
        return super().contains(x) and bool(sums_to_one(np.asarray(x, dtype=np.float64)).all())

    def __repr__(self) -> str:
        return f"LogDistribution{self.shape}"


@batch_space.register(LogDistribution)
def _batch_log_distributions(space: LogDistribution, n: int = 1) -> LogDistribution:
    return LogDistribution((n, *space.shape), seed=deepcopy(space.np_random))
