"""Losses on scores, as functions of tensors: the cost of each judgement in nats, and the mean over a batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from textrl_env.errors import require_seed
from textrl_env.reward_models.training.configs import RewardModelConfig
from textrl_env.reward_models.training.targets import LabelBatch

BatchLoss = Callable[[Tensor, LabelBatch, Tensor, RewardModelConfig], Tensor]
"""The form of `batch_loss`; several reward models on one trunk bring one of their own."""


def bradley_terry_loss(difference: Tensor, probability: Tensor | float = 1.0) -> Tensor:
    """Cross-entropy of preferences under Bradley-Terry (1952; Ouyang et al. 2022, eq. 1).

    P(first preferred) = sigmoid(difference);   loss = -p log P - (1 - p) log(1 - P)

    Args:
        difference: (M,), score of the first minus score of the second completion, and minus the margin if there is
            one (Touvron et al. 2023, eq. 2).
        probability: (M,) or a number, how likely people prefer the first; 1 for a plain choice.

    Returns:
        (M,)
    """
    return -(probability * logsigmoid(difference) + (1 - probability) * logsigmoid(-difference))


def davidson_loss(difference: Tensor, probability: Tensor, tie: Tensor, log_tie: Tensor) -> Tensor:
    """Cross-entropy of preferences and ties under Davidson (1970).

    Worth of first, second and tie: exp(d / 2), exp(-d / 2), nu;   each has the probability worth / sum of the three.

    Args:
        difference: (M,), d, score of the first minus score of the second completion.
        probability: (M,), how likely people prefer the first, if one of the two; not read where `tie`.
        tie: (M,) bool, people called the two equal.
        log_tie: one number, log nu, learned with the scores. As it goes to -inf this is Bradley-Terry.

    Returns:
        (M,)
    """
    half = difference / 2
    total = torch.logsumexp(torch.stack([half, -half, log_tie.expand_as(half)]), dim=0)
    return total - torch.where(tie, log_tie, (2 * probability - 1) * half)


def plackett_luce_loss(scores: Tensor, sizes: Sequence[int]) -> Tensor:
    """Cost of each choice in a ranking: the best of all, the best of the rest, ... (Luce 1959, Plackett 1975).

    loss of the k-th choice = log sum_{j >= k} exp(s_j) - s_k

    Args:
        scores: (B,), the completions of all rankings one after the other, best first in each.
        sizes: K of each ranking; they sum to B.

    Returns:
        (M,), M = Σ (K - 1); for K = 2 it is Bradley-Terry's.
    """
    last = torch.tensor(sizes, device=scores.device)[:, None] - 1
    place = torch.arange(max(sizes), device=scores.device)
    # What fills a row stands behind the worst, and must not count: exp of it is 0.
    lowest = torch.finfo(scores.dtype).min / 2
    grid = scores.new_full((len(sizes), len(place)), lowest).masked_scatter(place <= last, scores)
    rest = grid.flip(1).logcumsumexp(1).flip(1)
    return (rest - grid)[place < last]


def ordinal_loss(scores: Tensor, category: Tensor, cutpoints: Tensor) -> Tensor:
    """Cross-entropy of ratings in ordered categories: the cumulative logit model (McCullagh 1980).

    P(category <= c) = sigmoid(cutpoint_c - score)

    Args:
        scores: (B,)
        category: (B,) whole numbers from 0 to C - 1.
        cutpoints: (C - 1,), rising.

    Returns:
        (B,)
    """
    end = cutpoints.new_full((1,), torch.inf)
    low, high = torch.cat([-end, cutpoints])[category], torch.cat([cutpoints, end])[category]
    # sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)), of which nothing cancels.
    return -(logsigmoid(high - scores) + logsigmoid(scores - low) + torch.log(-torch.expm1(low - high)))


def rising(free: Tensor) -> Tensor:
    """Cutpoints from free numbers, the first cutpoint and the logarithm of each step: (C - 1,) -> (C - 1,)."""
    return torch.cat([free[:1], free[1:].exp()]).cumsum(0)


def ranking_pairs(sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Lists all pairs of completions of each ranking, better first.

    Args:
        sizes: K of each ranking; the completions of all rankings stand one after the other, best first in each.

    Returns:
        indices of the better and of the worse completion, (M,) each, M = Σ K (K - 1) / 2.
    """
    better, worse, start = [], [], 0
    for size in sizes:
        first, second = torch.triu_indices(size, size, offset=1)
        better.append(first + start)
        worse.append(second + start)
        start += size
    return torch.cat(better), torch.cat(worse)


def batch_loss(scores: Tensor, batch: LabelBatch, thresholds: Tensor, config: RewardModelConfig) -> Tensor:
    """Mean over the pairs, choices or ratings of a batch, each times its row's weight.

    Args:
        scores: (B,), of the completions of all rows one after the other.
        batch: the labels.
        thresholds: learned beside the scores: (1,) log nu of `davidson`, (C - 1,) for `rising` of `ordinal`, else (0,).
        config: `loss` is `pairs`, Bradley-Terry over all pairs of a ranking; `davidson`, the same with ties (labels of
            exactly 0.5); `plackett-luce`, a ranking as a row of choices; `regression`, the squared error of a rating;
            or `ordinal`, the cumulative logit model of rating categories. `label_smoothing` eps makes the label p
            p (1 - 2 eps) + eps, as in conservative DPO (Mitchell 2023). `center_rewards_coefficient` weighs the mean of
            (score of better + score of worse)^2, which keeps the scores around 0 (Eisenstein et al. 2023, eq. 2).

    Returns:
        A number, in nats (or squared standard deviations of the rating).
    """
    completion_weight = batch.weight.repeat_interleave(torch.tensor(batch.sizes, device=scores.device))
    # A row of weight 0 has no say, nor a gradient, were its scores not finite.
    scores = torch.where(completion_weight != 0, scores, 0.0)
    if config.loss == "regression":
        return (batch.weight * (scores - batch.label) ** 2).mean()
    if config.loss == "ordinal":
        return (batch.weight * ordinal_loss(scores, batch.label.long(), rising(thresholds))).mean()
    better, worse = ranking_pairs(batch.sizes)
    n_pairs = torch.tensor([size * (size - 1) // 2 for size in batch.sizes], device=scores.device)
    pair_weight = batch.weight.repeat_interleave(n_pairs)
    if config.loss == "plackett-luce":
        n_choices = torch.tensor(batch.sizes, device=scores.device) - 1
        cost = (batch.weight.repeat_interleave(n_choices) * plackett_luce_loss(scores, batch.sizes)).mean()
    else:
        difference = scores[better] - scores[worse] - batch.margin
        probability = batch.label * (1 - 2 * config.label_smoothing) + config.label_smoothing
        if config.loss == "davidson":
            losses = davidson_loss(difference, probability, batch.label == 0.5, thresholds)
        else:
            losses = bradley_terry_loss(difference, probability)
        cost = (pair_weight * losses).mean()
    if config.center_rewards_coefficient:
        centring = (pair_weight * (scores[better] + scores[worse]) ** 2).mean()
        cost = cost + config.center_rewards_coefficient * centring
    return cost


def bootstrap_counts(n_rows: int, n_members: int, *, seed: int) -> Tensor:
    """Counts how often each row is in each member's resample: N draws with replacement from N rows, (N, K).

    The unit is the row: the pairs of a ranking come and go together (Efron 1979; as masks on the heads of one network,
    Osband et al. 2016).
    """
    generator = torch.Generator().manual_seed(require_seed(seed))
    draws = torch.randint(n_rows, (n_rows, n_members), generator=generator)
    return torch.zeros(n_rows, n_members).scatter_add(0, draws, torch.ones(n_rows, n_members))


@dataclass(frozen=True)
class MemberLoss:
    """Mean over an ensemble's members of `batch_loss`, each with weights of its own; scores are (B, K).

    Attributes:
        counts: (N, K), how much each row of the training data counts for each member.
    """

    counts: Tensor

    def __call__(self, scores: Tensor, batch: LabelBatch, thresholds: Tensor, config: RewardModelConfig) -> Tensor:
        """Computes the loss; arguments as of `batch_loss`, but for scores (B, K)."""
        counts = self.counts[list(batch.rows)].to(scores.device)
        losses = [
            batch_loss(member_scores, replace(batch, weight=batch.weight * count), thresholds, config)
            for member_scores, count in zip(scores.unbind(1), counts.unbind(1), strict=True)
        ]
        return torch.stack(losses).mean()
