"""How a policy learns from a rollout: one step of Adam per minibatch, whose gradient is gathered part by part."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from textrl_env.agents.batch import Batch
from textrl_env.agents.on_policy.update import Update
from textrl_env.agents.policy import ActorCriticLM
from textrl_env.agents.processes import Processes
from textrl_env.agents.rollout import Rollout
from textrl_env.training import adamw, require_finite


class Objective(Protocol):
    """What an algorithm says of a minibatch."""

    def weights(self, mask: Tensor) -> Tensor:
        """Each token's share in the loss of a whole minibatch, (B, C) -> (B, C)."""

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of some of its episodes and scalars to log, all summed with `batch.weights`."""


class Learner:
    """Makes the updates of a policy, together with the other processes of the run.

    Every process holds the whole rollout, so that targets and weights are those of the whole minibatch. Forward and
    backward passes, which cost the time, are shared out: each process takes its rows of a minibatch, in parts that fit
    in memory, and the gradients of all parts are added up.

    Args:
        policy: trained in place.
        learning_rate: of Adam at first; each update brings its own.
        microbatch_size: episodes per forward and backward pass.
        max_grad_norm: gradients are scaled down to this norm.
        adam_eps: of Adam.
        processes: of the run.
    """

    def __init__(
        self,
        policy: ActorCriticLM,
        *,
        learning_rate: float,
        microbatch_size: int,
        max_grad_norm: float,
        adam_eps: float,
        processes: Processes,
    ) -> None:
        self.policy, self.processes = policy, processes
        self.microbatch_size, self.max_grad_norm = microbatch_size, max_grad_norm
        self.optimizer = adamw(policy.parameters(), lr=learning_rate, eps=adam_eps)
        processes.prepare(policy, self.optimizer)

    def finish(
        self, update: Update, objective: Objective, *, should_stop: Callable[[], bool], at: str, last_checkpoint: object
    ) -> bool:
        """Does the remaining minibatches; False where `should_stop` left some for later.

        Raises:
            InputError: a loss or gradient that is not finite, naming `at`, the minibatch and `last_checkpoint`.
        """
        # What was held for acting would only take memory from the update.
        self.policy.parameters_changed()
        for group in self.optimizer.param_groups:
            group["lr"] = update.learning_rate
        for rows in update.remaining():
            if update.done and should_stop():
                return False
            minibatch = update.rollout[rows]
            prompts = sorted(set(minibatch.prompt_index.tolist()))
            batch = Batch(minibatch, update.targets[rows], objective.weights(minibatch.completion_mask))
            statistics = self._gradient(batch[self.processes.share(len(batch))], objective)
            require_finite(
                statistics["loss"], statistics["gradient_norm"],
                at=f"{at}, minibatch {update.done + 1}, prompts {prompts}", last_checkpoint=last_checkpoint,
            )  # fmt: skip
            self.optimizer.step()
            self.policy.parameters_changed()
            update.book(statistics)
        return True

    def in_parts(self, score: Callable[[Rollout], Tensor], rollout: Rollout) -> Tensor:
        """score(rollout), one row an episode, from parts that fit in memory, each scored by one of the processes."""
        mine = rollout[self.processes.share(len(rollout))]
        return self.processes.gathered(torch.cat([score(mine[rows]) for rows in self._parts(len(mine))]))

    def _gradient(self, batch: Batch, objective: Objective) -> dict[str, float]:
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
        norm = self.processes.clipped_norm(self.policy, self.max_grad_norm)
        added = self.processes.added({name: float(value) for name, value in sums.items()} | {"loss": total})
        return added | {"gradient_norm": norm}

    def _parts(self, n: int) -> tuple[Tensor, ...]:
        return torch.split(torch.arange(n), self.microbatch_size)
