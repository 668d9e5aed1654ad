"""What the members of an ensemble are trained on: each on preferences of its own draw."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from textrl_env.reward_models.training.batch_loss import Batch, Loss, batch_loss


def bootstrap_counts(n_rows: int, n_members: int, *, seed: int) -> Tensor:
    """How often each row is in each member's resample: N draws with replacement from N rows, (N, K).

    The unit is the row: the pairs of a ranking come and go together (Efron 1979; as masks on the heads of one network,
    Osband et al. 2016).
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(n_rows, (n_rows, n_members), generator=generator)
    return torch.zeros(n_rows, n_members).scatter_add(0, drawn, torch.ones(n_rows, n_members))


@dataclass(frozen=True)
class MemberLoss:
    """Mean over the members of `batch_loss`, each with weights of its own; scores are (B, K).

    Attributes:
        counts: (N, K), how much each row of the training data counts for each member.
    """

    counts: Tensor

    def __call__(
        self,
        scores: Tensor,
        batch: Batch,
        thresholds: Tensor,
        *,
        loss: Loss,
        label_smoothing: float,
        center_rewards_coefficient: float,
    ) -> Tensor:
        counts = self.counts[list(batch.rows)].to(scores.device)
        losses = [
            batch_loss(
                own, replace(batch, weight=batch.weight * count), thresholds, loss=loss,
                label_smoothing=label_smoothing, center_rewards_coefficient=center_rewards_coefficient,
            )
            for own, count in zip(scores.unbind(1), counts.unbind(1), strict=True)
        ]  # fmt: skip
        return torch.stack(losses).mean()
