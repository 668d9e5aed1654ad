"""What a loss is computed from: some episodes of a rollout, their targets and each token's share."""

from dataclasses import dataclass, fields

from torch import Tensor

from textrl_env.agents.rollout import Rollout


@dataclass(frozen=True)
class Targets:
    """What an algorithm derives from a rollout before its updates: (B, C) each, junk where the mask is False.

    Attributes:
        advantages: how much better a token was than expected.
        returns: what the critic should have said, or None without a critic.
        values: what the critic said, or None.
        ref_logprobs: of the tokens under the reference, where the loss has a KL term, or None.
    """

    advantages: Tensor
    returns: Tensor | None = None
    values: Tensor | None = None
    ref_logprobs: Tensor | None = None

    def __getitem__(self, rows: Tensor) -> "Targets":
        parts = (getattr(self, field.name) for field in fields(self))
        return Targets(*(None if part is None else part[rows] for part in parts))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Batch:
    """A minibatch, or the part of it that fits in memory.

    Attributes:
        rollout: its episodes.
        targets: theirs.
        weights: (B, C), each token's share in the loss of the whole minibatch, 0 where it does not count.
    """

    rollout: Rollout
    targets: Targets
    weights: Tensor

    def __len__(self) -> int:
        return len(self.rollout)

    def __getitem__(self, rows: Tensor) -> "Batch":
        return Batch(self.rollout[rows], self.targets[rows], self.weights[rows])
