"""Learning from a rollout: one step of Adam per minibatch, whose gradient is added up part by part.

An update can stop between two minibatches and be saved: `Update` holds what the remaining ones need.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import torch
from torch import Tensor

from textrl_env.agents.on_policy.options import OnPolicyOptions
from textrl_env.agents.processes import Processes
from textrl_env.agents.rollout import Batch, Rollout, Targets
from textrl_env.errors import require_at_least
from textrl_env.training import adamw, require_finite


class Objective(Protocol):
    """The loss of an algorithm, and how it weighs tokens."""

    def weights(self, mask: Tensor) -> Tensor:
        """Returns the share of each token in the loss of a whole minibatch, (B, C) -> (B, C)."""

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the loss of some of its episodes and scalars to log, all summed with `batch.weights`."""


@dataclass
class Update:
    """An update of the policy, minibatch by minibatch.

    Attributes:
        rollout, targets: what it learns from.
        minibatches: (S, B) rows of the rollout, one minibatch after another through all epochs.
        learning_rate: of its steps.
        n_done: minibatches that have been learnt from.
        sums: of what each of them logs.
    """

    rollout: Rollout
    targets: Targets
    minibatches: Tensor
    learning_rate: float
    n_done: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def remaining(self) -> Iterator[Tensor]:
        """Returns the rows of each minibatch that is still to come."""
        return iter(self.minibatches[self.n_done :])

    def count_minibatch(self, statistics: Mapping[str, float]) -> None:
        """Counts a minibatch as learnt from."""
        for name, value in statistics.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.n_done += 1

    def means(self) -> dict[str, float]:
        """Averages what the minibatches logged."""
        return {name: value / self.n_done for name, value in self.sums.items()}

    def tensors(self) -> dict[str, Tensor]:
        """Returns everything that is a tensor, by name; with `numbers` it makes the update again."""
        parts = {"minibatches": self.minibatches}
        for name, part in (("rollout", self.rollout), ("targets", self.targets)):
            parts |= {f"{name}.{entry.name}": getattr(part, entry.name) for entry in fields(part)}
        # Clones, because safetensors refuses tensors that share memory.
        return {name: value.clone() for name, value in parts.items() if value is not None}

    def numbers(self) -> dict[str, Any]:
        """Returns everything else, for JSON."""
        return {"learning_rate": self.learning_rate, "done": self.n_done, "sums": self.sums}

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any], device: torch.device) -> "Update":
        """Makes the update again whose `tensors` and `numbers` these are."""
        parts: dict[str, dict[str, Tensor]] = {"rollout": {}, "targets": {}}
        for name, value in tensors.items():
            owner, _, entry = name.partition(".")
            if entry:
                parts[owner][entry] = value.to(device)
        return cls(
            Rollout(**parts["rollout"]),
            Targets(**parts["targets"]),
            tensors["minibatches"],
            numbers["learning_rate"],
            n_done=numbers["done"],
            sums=numbers["sums"],
        )


class Learner:
    """Makes the updates of a policy, together with the other processes of the run.

    Every process holds the whole rollout, so that targets and weights are those of the whole minibatch. Forward and
    backward passes, which cost the time, are shared out: each process takes its rows of a minibatch, in parts that fit
    in memory, and the gradients of all parts are added up.

    Args:
        options: with the policy, which is trained in place.
        processes: of the run.

    Attributes:
        optimizer: Adam, over the policy's parameters.
    """

    def __init__(self, options: OnPolicyOptions, processes: Processes) -> None:
        self.options, self.policy, self.processes = options, options.policy, processes
        self.minibatch_size, self.part_size = options.minibatch_size, options.part_size
        self.optimizer = adamw(self.policy.parameters(), lr=self.learning_rate(1.0), eps=options.adam_eps)
        processes.prepare(self.policy, self.optimizer)

    def learning_rate(self, remaining: float) -> float:
        """Returns the learning rate where the share `remaining` of the training lies ahead, from 1 to 0."""
        rate = self.options.learning_rate
        rate = rate(remaining) if callable(rate) else rate
        require_at_least(0, learning_rate=rate)
        return rate

    def draw_minibatches(self, n_rows: int, generator: torch.Generator) -> Tensor:
        """Draws the rows of an update's minibatches, (S, B): every row once in each epoch."""
        epochs = [torch.randperm(n_rows, generator=generator) for _ in range(self.options.n_epochs)]
        return torch.cat(epochs).view(-1, self.minibatch_size)

    def finish(
        self,
        update: Update,
        objective: Objective,
        *,
        should_stop: Callable[[], bool],
        place: str,
        last_checkpoint: object,
    ) -> bool:
        """Learns from the remaining minibatches; returns False where `should_stop` left some for later.

        Raises:
            InputError: a loss or gradient that is not finite, naming `place`, the minibatch and `last_checkpoint`.
        """
        # What was held for acting would only take memory from the update.
        self.policy.parameters_changed()
        for group in self.optimizer.param_groups:
            group["lr"] = update.learning_rate
        for rows in update.remaining():
            if update.n_done and should_stop():
                return False
            minibatch = update.rollout[rows]
            prompts = sorted(set(minibatch.prompt_index.tolist()))
            batch = Batch(minibatch, update.targets[rows], objective.weights(minibatch.completion_mask))
            statistics = self._compute_gradient(batch[self.processes.share(len(batch))], objective)
            require_finite(
                statistics["loss"],
                statistics["gradient_norm"],
                terms={name: value for name, value in statistics.items() if name != "gradient_norm"},
                at=f"{place}, minibatch {update.n_done + 1}, prompts {prompts}",
                last_checkpoint=last_checkpoint,
            )
            self.optimizer.step()
            self.policy.parameters_changed()
            update.count_minibatch(statistics)
        return True

    def score_in_parts(self, score: Callable[[Rollout], Tensor], rollout: Rollout) -> Tensor:
        """Returns score(rollout), a row an episode, from parts that fit in memory, shared out over the processes."""
        share = rollout[self.processes.share(len(rollout))]
        return self.processes.gather(torch.cat([score(share[rows]) for rows in self._parts(len(share))]))

    def _compute_gradient(self, batch: Batch, objective: Objective) -> dict[str, float]:
        """Leaves the minibatch's gradient, clipped, in the parameters; `batch` is this process' share of it."""
        self.optimizer.zero_grad(set_to_none=True)
        total, sums = 0.0, dict[str, Any]()
        for rows in self._parts(len(batch)):
            loss, statistics = objective.loss(batch[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
            for name, statistic in statistics.items():
                sums[name] = sums.get(name, 0.0) + statistic.detach()
        self.processes.add_gradients(self.policy)
        norm = self.processes.clip_gradients(self.policy, self.options.max_grad_norm)
        totals = self.processes.sum({name: float(value) for name, value in sums.items()} | {"loss": total})
        return totals | {"gradient_norm": norm}

    def _parts(self, n_rows: int) -> tuple[Tensor, ...]:
        return torch.split(torch.arange(n_rows), self.part_size)
