"""What a reward model learns from, as numbers: the labels of all rows, and those of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from textrl_env.errors import InputError
from textrl_env.reward_models.preferences import Preference
from textrl_env.reward_models.training.batch_loss import Batch, Loss
from textrl_env.reward_models.training.config import RewardModelConfig
from textrl_env.reward_models.training.rows import RatedCompletion, Row

OF_PREFERENCES: tuple[Loss, ...] = ("pairs", "davidson", "plackett-luce")
OF_RATINGS: tuple[Loss, ...] = ("regression", "ordinal")
MOST_CATEGORIES = 50


@dataclass(frozen=True)
class Targets:
    """The labels of N rows.

    Attributes:
        loss: that they are for.
        sizes: completions of each row.
        labels, margins: of each row's pairs, or of its rating; see `Batch`.
        weights: (N,), 1 on average over the terms of the loss.
        thresholds: where the loss's own parameters start, see `batch_loss`: as if all scores were equal.
        scale: mean and standard deviation of the ratings, which `regression` takes off; (0, 1) for others.
        categories: ratings of the categories of `ordinal`, rising.
    """

    loss: Loss
    sizes: list[int]
    labels: list[Tensor]
    margins: list[Tensor]
    weights: Tensor
    thresholds: Tensor
    scale: tuple[float, float] = (0.0, 1.0)
    categories: tuple[float, ...] = ()

    def batch(self, rows: Sequence[int], device: torch.device) -> Batch:
        """The labels of some rows."""
        label = torch.cat([self.labels[row] for row in rows])
        margin = torch.cat([self.margins[row] for row in rows])
        sizes = tuple(self.sizes[row] for row in rows)
        weight = self.weights[list(rows)]
        return Batch(tuple(rows), sizes, label.to(device), margin.to(device), weight.to(device))


def targets_of(rows: Sequence[Row], config: RewardModelConfig) -> Targets:
    """The labels of the rows; what the loss `auto` means is decided here.

    Raises:
        InputError: no rows, or preferences and ratings among each other; a loss or an option that does not go with
            them; naming the row, a ranking that `plackett-luce` cannot use; no row with a weight above 0; ratings that
            are all the same, or too many different ones for `ordinal`.
    """
    preferences = [row for row in rows if isinstance(row, Preference)]
    ratings = [row for row in rows if isinstance(row, RatedCompletion)]
    if not rows:
        raise InputError("no preferences or ratings to train on")
    if preferences and ratings:
        raise InputError(f"{len(preferences)} rows are preferences and {len(ratings)} ratings; train on one of the two")
    kind, fitting = ("preferences", OF_PREFERENCES) if preferences else ("ratings", OF_RATINGS)
    loss = fitting[0] if config.loss == "auto" else config.loss
    if loss not in fitting:
        raise InputError(f"loss {loss} does not go with {kind}; choose one of {', '.join(fitting)}")
    # Refuses options that the loss has no use for.
    replace(config, loss=loss)
    return _of_preferences(preferences, loss) if preferences else _of_ratings(ratings, loss)


def _of_preferences(rows: Sequence[Preference], loss: Loss) -> Targets:
    labels = [torch.tensor(row.pair_probabilities) for row in rows]
    if loss == "plackett-luce":
        for row, label in zip(rows, labels, strict=True):
            if row.margin or not bool((label == 1).all()):
                raise InputError(
                    f"{row.where}: loss plackett-luce takes rankings without ties, soft labels and margins; leave the "
                    "row out, or choose the loss pairs"
                )
    sizes = [len(row.ranking) for row in rows]
    n_terms = [size - 1 if loss == "plackett-luce" else len(label) for size, label in zip(sizes, labels, strict=True)]
    weights = _weights([row.weight for row in rows], n_terms)
    margins = [torch.full_like(label, row.margin) for row, label in zip(rows, labels, strict=True)]
    thresholds = torch.zeros(0)
    if loss == "davidson":
        every = torch.cat(labels)
        weight = weights.repeat_interleave(torch.tensor(n_terms))
        # Half a tie more and half a choice more, so that none at all is no infinity.
        ties = (weight * (every == 0.5)).sum() + 0.5
        share = ties / (len(every) + 1)
        thresholds = torch.log(2 * share / (1 - share))[None]
    return Targets(loss, sizes, labels, margins, weights, thresholds)


def _of_ratings(rows: Sequence[RatedCompletion], loss: Loss) -> Targets:
    values = torch.tensor([row.rating for row in rows], dtype=torch.float64)
    weights = _weights([row.weight for row in rows], [1] * len(rows))
    categories, category = torch.unique(values, return_inverse=True)
    counted = values[weights > 0]
    if bool((counted == counted[0]).all()):
        raise InputError(f"all {len(counted)} ratings are {float(counted[0])}; there is nothing to learn from them")
    zeros = list(torch.zeros(len(rows), 1))
    sizes = [1] * len(rows)
    if loss == "regression":
        mean = (weights * values).mean()
        deviation = (weights * (values - mean) ** 2).mean().sqrt()
        labels = list(((values - mean) / deviation).float()[:, None])
        return Targets(loss, sizes, labels, zeros, weights, torch.zeros(0), (float(mean), float(deviation)))
    if len(categories) > MOST_CATEGORIES:
        raise InputError(
            f"loss ordinal takes at most {MOST_CATEGORIES} different ratings, found {len(categories)}; choose the "
            "loss regression"
        )
    # Half a rating more in each category: none may be empty, as one is whose ratings all have the weight 0.
    counts = torch.zeros(len(categories)).index_add(0, category, weights) + 0.5
    below = counts.cumsum(0)[:-1] / counts.sum()
    cutpoints = torch.logit(below)
    thresholds = torch.cat([cutpoints[:1], cutpoints.diff().log()])
    labels = list(category.float()[:, None])
    return Targets(loss, sizes, labels, zeros, weights, thresholds, categories=tuple(categories.tolist()))


def _weights(weights: Sequence[float], n_terms: Sequence[int]) -> Tensor:
    """(N,) with a mean of 1 over the terms of all rows, so that a batch of light rows counts less than a heavy one."""
    given, terms = torch.tensor(weights, dtype=torch.float64), torch.tensor(n_terms, dtype=torch.float64)
    total = (given * terms).sum()
    if total == 0:
        raise InputError("every row has the weight 0; there is nothing to learn from")
    return (given * terms.sum() / total).float()
