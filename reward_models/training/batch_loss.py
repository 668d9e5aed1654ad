"""The loss of a batch: scores of its completions on one side, what people said of them on the other."""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from textrl_env.reward_models.training.losses import (
    bradley_terry_loss,
    davidson_loss,
    ordinal_loss,
    plackett_luce_loss,
    ranking_pairs,
    rising,
)

Loss = Literal["pairs", "davidson", "plackett-luce", "regression", "ordinal"]


@dataclass(frozen=True)
class Batch:
    """What people said of R rows with B completions, on the scores' device.

    Attributes:
        rows: R places in the training data.
        sizes: completions of each row, which sum to B: a ranking's, best first, or 1 for a rating.
        label: (M,), for every pair of every ranking how likely people prefer the better; or the rating of every row.
        margin: (M,), by how much the better should score higher; 0 for ratings.
        weight: (R,), how much each row counts; 1 on average over the training data.
    """

    rows: tuple[int, ...]
    sizes: tuple[int, ...]
    label: Tensor
    margin: Tensor
    weight: Tensor


class BatchLoss(Protocol):
    """What `batch_loss` looks like; several reward models on one trunk bring one of their own."""

    def __call__(
        self,
        scores: Tensor,
        batch: Batch,
        thresholds: Tensor,
        *,
        loss: Loss,
        label_smoothing: float,
        center_rewards_coefficient: float,
    ) -> Tensor: ...


def batch_loss(
    scores: Tensor,
    batch: Batch,
    thresholds: Tensor,
    *,
    loss: Loss,
    label_smoothing: float = 0.0,
    center_rewards_coefficient: float = 0.0,
) -> Tensor:
    """Mean over the pairs, choices or ratings of a batch, each times its row's weight.

    Args:
        scores: (B,), of the completions of all rows one after the other.
        batch: the labels.
        thresholds: what the loss learns beside the scores: (1,) log nu of `davidson`, (C - 1,) for `rising` of
            `ordinal`, else (0,).
        loss: `pairs` is Bradley-Terry over all pairs of a ranking, `davidson` the same with ties (labels of exactly
            0.5), `plackett-luce` a ranking as a row of choices, `regression` the squared error of a rating, `ordinal`
            the cumulative logit model of rating categories.
        label_smoothing: how likely a preference is taken to be the wrong way round, in [0, 0.5): the label p becomes
            p (1 - 2 eps) + eps, as in conservative DPO (Mitchell 2023).
        center_rewards_coefficient: weight of the mean of (score of better + score of worse)^2, which keeps the scores
            around 0 (Eisenstein et al. 2023, eq. 2).

    Returns:
        A number, in nats (or squared standard deviations of the rating).
    """
    if loss == "regression":
        return (batch.weight * (scores - batch.label) ** 2).mean()
    if loss == "ordinal":
        return (batch.weight * ordinal_loss(scores, batch.label.long(), rising(thresholds))).mean()
    better, worse = ranking_pairs(batch.sizes)
    n_pairs = torch.tensor([size * (size - 1) // 2 for size in batch.sizes], device=scores.device)
    of_pairs = batch.weight.repeat_interleave(n_pairs)
    if loss == "plackett-luce":
        n_choices = torch.tensor(batch.sizes, device=scores.device) - 1
        cost = (batch.weight.repeat_interleave(n_choices) * plackett_luce_loss(scores, batch.sizes)).mean()
    else:
        difference = scores[better] - scores[worse] - batch.margin
        probability = batch.label * (1 - 2 * label_smoothing) + label_smoothing
        if loss == "davidson":
            losses = davidson_loss(difference, probability, batch.label == 0.5, thresholds)
        else:
            losses = bradley_terry_loss(difference, probability)
        cost = (of_pairs * losses).mean()
    if center_rewards_coefficient:
        cost = cost + center_rewards_coefficient * (of_pairs * (scores[better] + scores[worse]) ** 2).mean()
    return cost
