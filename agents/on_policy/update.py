"""An update under way: what its remaining minibatches need, so that it can stop between two of them and be saved."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from textrl_env.agents.batch import Targets
from textrl_env.agents.rollout import Rollout


@dataclass
class Update:
    """One update of the policy, minibatch by minibatch.

    Attributes:
        rollout, targets: what it learns from.
        minibatches: (S, B) rows of the rollout, one minibatch after another through all epochs.
        learning_rate: of its steps.
        done: minibatches that are done.
        sums: of what each of them logs.
    """

    rollout: Rollout
    targets: Targets
    minibatches: Tensor
    learning_rate: float
    done: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def remaining(self) -> Iterator[Tensor]:
        """Rows of each minibatch that is not done."""
        return iter(self.minibatches[self.done :])

    def book(self, statistics: Mapping[str, float]) -> None:
        """Counts a minibatch as done."""
        for name, value in statistics.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.done += 1

    def means(self) -> dict[str, float]:
        """Of what the minibatches logged."""
        return {name: value / self.done for name, value in self.sums.items()}

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is a tensor, by name; with `numbers` it makes the update again."""
        parts = {"minibatches": self.minibatches}
        for name, part in (("rollout", self.rollout), ("targets", self.targets)):
            parts |= {f"{name}.{entry.name}": getattr(part, entry.name) for entry in fields(part)}
        # Clones, because safetensors refuses tensors that share memory.
        return {name: value.clone() for name, value in parts.items() if value is not None}

    def numbers(self) -> dict[str, Any]:
        """Everything else, for JSON."""
        return {"learning_rate": self.learning_rate, "done": self.done, "sums": self.sums}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any], device: torch.device) -> "Update":
        """The update whose `tensors` and `numbers` these are."""
        parts: dict[str, dict[str, Tensor]] = {"rollout": {}, "targets": {}}
        for name, value in tensors.items():
            owner, _, entry = name.partition(".")
            if entry:
                parts[owner][entry] = value.to(device)
        return cls(Rollout(**parts["rollout"]), Targets(**parts["targets"]), tensors["minibatches"], **numbers)
