"""Targets of a reward model's training: the labels of all rows as numbers, their batches, and the order of those."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor

from textrl_env.errors import InputError, require_seed
from textrl_env.reward_models.preferences import Preference
from textrl_env.reward_models.training.configs import Loss, RewardModelConfig
from textrl_env.reward_models.training_rows import RatedCompletion, TrainingRow

PREFERENCE_LOSSES: tuple[Loss, ...] = ("pairs", "davidson", "plackett-luce")
RATING_LOSSES: tuple[Loss, ...] = ("regression", "ordinal")
MAX_CATEGORIES = 50
BUCKET = 16
"""Batches of rows among which similar lengths are put together."""


@dataclass(frozen=True)
class LabelBatch:
    """Labels of R rows with B completions, on the scores' device.

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


@dataclass(frozen=True)
class RewardTargets:
    """The labels of N rows.

    Attributes:
        loss: the one that they are for; never `auto`.
        sizes: completions of each row.
        labels, margins: of each row's pairs, or of its rating; see `LabelBatch`.
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

    def batch(self, rows: Sequence[int], device: torch.device) -> LabelBatch:
        """Puts the labels of some rows on a device."""
        label = torch.cat([self.labels[row] for row in rows])
        margin = torch.cat([self.margins[row] for row in rows])
        sizes = tuple(self.sizes[row] for row in rows)
        weight = self.weights[list(rows)]
        return LabelBatch(tuple(rows), sizes, label.to(device), margin.to(device), weight.to(device))


def compute_targets(rows: Sequence[TrainingRow], config: RewardModelConfig) -> RewardTargets:
    """Computes the labels of the rows, and decides what the loss `auto` means.

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
    kind, fitting = ("preferences", PREFERENCE_LOSSES) if preferences else ("ratings", RATING_LOSSES)
    loss = fitting[0] if config.loss == "auto" else config.loss
    if loss not in fitting:
        raise InputError(f"loss {loss} does not go with {kind}; choose one of {', '.join(fitting)}")
    # Refuses options that the loss has no use for.
    replace(config, loss=loss)
    return _preference_targets(preferences, loss) if preferences else _rating_targets(ratings, loss)


def _preference_targets(rows: Sequence[Preference], loss: Loss) -> RewardTargets:
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
        all_labels = torch.cat(labels)
        weight = weights.repeat_interleave(torch.tensor(n_terms))
        # Half a tie more and half a choice more, so that none at all is no infinity.
        ties = (weight * (all_labels == 0.5)).sum() + 0.5
        share = ties / (len(all_labels) + 1)
        thresholds = torch.log(2 * share / (1 - share))[None]
    return RewardTargets(loss, sizes, labels, margins, weights, thresholds)


def _rating_targets(rows: Sequence[RatedCompletion], loss: Loss) -> RewardTargets:
    values = torch.tensor([row.rating for row in rows], dtype=torch.float64)
    weights = _weights([row.weight for row in rows], [1] * len(rows))
    categories, category = torch.unique(values, return_inverse=True)
    weighty = values[weights > 0]
    if bool((weighty == weighty[0]).all()):
        raise InputError(f"all {len(weighty)} ratings are {float(weighty[0])}; there is nothing to learn from them")
    zeros = list(torch.zeros(len(rows), 1))
    sizes = [1] * len(rows)
    if loss == "regression":
        mean = (weights * values).mean()
        deviation = (weights * (values - mean) ** 2).mean().sqrt()
        labels = list(((values - mean) / deviation).float()[:, None])
        return RewardTargets(loss, sizes, labels, zeros, weights, torch.zeros(0), (float(mean), float(deviation)))
    if len(categories) > MAX_CATEGORIES:
        raise InputError(
            f"loss ordinal takes at most {MAX_CATEGORIES} different ratings, found {len(categories)}; choose the "
            "loss regression"
        )
    # Half a rating more in each category: none may be empty, as one is whose ratings all have the weight 0.
    counts = torch.zeros(len(categories)).index_add(0, category, weights) + 0.5
    below = counts.cumsum(0)[:-1] / counts.sum()
    cutpoints = torch.logit(below)
    thresholds = torch.cat([cutpoints[:1], cutpoints.diff().log()])
    labels = list(category.float()[:, None])
    return RewardTargets(loss, sizes, labels, zeros, weights, thresholds, categories=tuple(categories.tolist()))


def _weights(weights: Sequence[float], n_terms: Sequence[int]) -> Tensor:
    """Scales weights to a mean of 1 over the terms of all rows, so that a batch of light rows counts less: (N,)."""
    raw, terms = torch.tensor(weights, dtype=torch.float64), torch.tensor(n_terms, dtype=torch.float64)
    total = (raw * terms).sum()
    if total == 0:
        raise InputError("every row has the weight 0; there is nothing to learn from")
    return (raw * terms.sum() / total).float()


def iterate_batches(
    lengths: Sequence[int], *, batch_size: int, n_epochs: int, seed: int, skip: int = 0
) -> Iterator[list[int]]:
    """Yields batches of row numbers, epoch by epoch, shuffled; each row once an epoch.

    Args:
        lengths: of each row's longest completion, in tokens; those of a batch are similar, so that little is padding.
        batch_size: rows of a batch; the last of a bucket may have fewer.
        n_epochs: passes over the rows.
        seed: of the order.
        skip: batches to leave out at the start; a resumed training goes on after them.
    """
    return islice(
        _all_batches(lengths, batch_size, n_epochs, torch.Generator().manual_seed(require_seed(seed))), skip, None
    )


def n_batches(n_rows: int, *, batch_size: int, n_epochs: int) -> int:
    """Number of batches in all epochs."""
    return -(-n_rows // batch_size) * n_epochs


def _all_batches(
    lengths: Sequence[int], batch_size: int, n_epochs: int, generator: torch.Generator
) -> Iterator[list[int]]:
    for _ in range(n_epochs):
        order = torch.randperm(len(lengths), generator=generator).tolist()
        batches = []
        for start in range(0, len(order), BUCKET * batch_size):
            bucket = sorted(order[start : start + BUCKET * batch_size], key=lambda row: lengths[row])
            batches += [bucket[first : first + batch_size] for first in range(0, len(bucket), batch_size)]
        for index in torch.randperm(len(batches), generator=generator).tolist():
            yield batches[index]
