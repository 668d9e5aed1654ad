"""Among how many processes training runs, and what they do together; alone, nothing is left to do."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textrl_env.agents.policy import ActorCriticLM
from textrl_env.agents.rollout import Rollout
from textrl_env.errors import InputError
from textrl_env.training import process_count


class Processes:
    """One process, alone: whatever is gathered is its own, and whatever is added up is what it has.

    What several do together, all of them must call, and in the same order.

    Attributes:
        count: how many there are.
        index: which of them this is, from 0.
    """

    count: int = 1
    index: int = 0

    @property
    def writes(self) -> bool:
        """Whether this is the one that writes files and speaks to the terminal."""
        return self.index == 0

    def by_writer(self, write: Callable[[], object]) -> None:
        """Calls `write` in the process that writes, while the others wait; an InputError there is one in all."""
        fault: InputError | None = None
        if self.writes:
            try:
                write()
            except InputError as error:
                fault = error
        if self.any(fault is not None):
            raise fault or InputError("process 1 could not write its files; its own message says why")

    def seed(self, seed: int) -> int:
        """A seed of this process' own; the first has the run's."""
        return seed if self.index == 0 else int(np.random.SeedSequence([seed, self.index]).generate_state(1)[0])

    def share(self, n: int) -> Tensor:
        """Which of n rows are this process' work; `count` divides n."""
        size = n // self.count
        return torch.arange(size * self.index, size * (self.index + 1))

    def prepare(self, policy: ActorCriticLM, optimizer: torch.optim.Optimizer) -> None:
        """To be called before anything is trained."""

    def require_same(self, what: str, numbers: Mapping[str, float]) -> None:
        """Raises InputError unless all processes have the same numbers."""

    def joined(self, rollout: Rollout) -> Rollout:
        """The episodes of all processes, in their order, padded to one width."""
        return rollout

    def gathered(self, rows: Tensor) -> Tensor:
        """The rows of all processes, in their order: (n, ...) -> (`count` · n, ...)."""
        return rows

    def states(self, state: dict[str, Any]) -> list[dict[str, Any]]:
        """What each of them holds, for JSON."""
        return [state]

    def any(self, flag: bool) -> bool:
        """Whether it holds for one of them."""
        return flag

    def added(self, numbers: dict[str, float]) -> dict[str, float]:
        """Sums over the processes, by name."""
        return numbers

    def add_gradients(self, policy: ActorCriticLM) -> None:
        """Each parameter's gradient becomes the sum of those of all processes."""

    def clipped_norm(self, policy: ActorCriticLM, max_norm: float) -> float:
        """The norm of the whole gradient, which is then scaled down to `max_norm`."""
        return float(torch.nn.utils.clip_grad_norm_(policy.parameters(), max_norm))


def launched(device: torch.device) -> Processes:
    """The processes that `accelerate launch` or torchrun started this one among; else this one alone.

    Args:
        device: of the policy.

    Raises:
        InputError: accelerate is not installed, or is configured for something that does not work here.
    """
    if (count := process_count()) == 1:
        return Processes()
    try:
        from textrl_env.agents.processes.configured import configured
    except ImportError:
        raise InputError(
            f"{count} processes need the package accelerate: pip install 'textrl-env[accelerate]'"
        ) from None
    return configured(device)
