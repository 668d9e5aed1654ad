"""Losses on scores, as functions of tensors: what each judgement costs, in nats."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


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
    """Every choice that a ranking consists of: the best of all, the best of the rest, ... (Luce 1959, Plackett 1975).

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
    """Cutpoints from numbers that are free to move: the first, then the logarithm of each step. (C - 1,) -> (C - 1,)"""
    return torch.cat([free[:1], free[1:].exp()]).cumsum(0)


def ranking_pairs(sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """All pairs of completions of each ranking, better first.

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
