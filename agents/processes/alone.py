"""The processes that train together, and what they do together; alone, nothing is left to do."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textrl_env.agents.policy import ActorCriticLM
from textrl_env.agents.rollout import Rollout
from textrl_env.errors import InputError


class Processes:
    """A process alone: gathering returns what it has, and so does adding up.

    Several processes must all call what they do together, and in the same order.

    Attributes:
        count: how many there are.
        index: the number of this one, from 0.
    """

    count: int = 1
    index: int = 0

    @property
    def writes(self) -> bool:
        """True in the process that writes files and speaks to the terminal."""
        return self.index == 0

    def by_writer(self, write: Callable[[], object]) -> None:
        """Calls `write` in the process that writes, while the others wait; an InputError there is one in all."""
        fault: InputError | None = None
        if self.writes:
            try:
                write()
            except InputError as error:
                fault = error
        if self.any_of(fault is not None):
            raise fault or InputError("process 1 could not write its files; its own message says why")

    def seed(self, seed: int) -> int:
        """Derives this process' own seed; the first has the run's."""
        return seed if self.index == 0 else int(np.random.SeedSequence([seed, self.index]).generate_state(1)[0])

    def share(self, n: int) -> Tensor:
        """Returns the indices of this process' part of n rows; `count` divides n."""
        size = n // self.count
        return torch.arange(size * self.index, size * (self.index + 1))

    def prepare(self, policy: ActorCriticLM, optimizer: torch.optim.Optimizer) -> None:
        """Makes policy and optimizer ready; to be called before anything is trained."""

    def require_same(self, what: str, numbers: Mapping[str, float]) -> None:
        """Raises InputError unless all processes have the same numbers."""

    def gather_rollout(self, rollout: Rollout) -> Rollout:
        """Gathers the episodes of all processes, in their order, padded to one width."""
        return rollout

    def gather(self, rows: Tensor) -> Tensor:
        """Gathers the rows of all processes, in their order: (n, ...) -> (`count` · n, ...)."""
        return rows

    def gather_states(self, state: dict[str, Any]) -> list[dict[str, Any]]:
        """Gathers what can be written as JSON, one entry a process."""
        return [state]

    def any_of(self, flag: bool) -> bool:
        """Returns True in all processes where the flag is True in at least one."""
        return flag

    def sum(self, numbers: dict[str, float]) -> dict[str, float]:
        """Sums over the processes, by name."""
        return numbers

    def add_gradients(self, policy: ActorCriticLM) -> None:
        """Replaces each parameter's gradient by the sum of those of all processes."""

    def clip_gradients(self, policy: ActorCriticLM, max_norm: float) -> float:
        """Scales the whole gradient down to the norm `max_norm`; returns the norm that it had."""
        return float(torch.nn.utils.clip_grad_norm_(policy.parameters(), max_norm))
