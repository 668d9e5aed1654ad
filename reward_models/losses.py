"""Losses on scores, as functions of tensors."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def bradley_terry_loss(difference: Tensor, probability: Tensor | float = 1.0) -> Tensor:
    """Mean cross-entropy of preferences under Bradley-Terry (1952; Ouyang et al. 2022, eq. 1), in nats per pair.

    P(first preferred) = sigmoid(difference);   loss = -p log P - (1 - p) log(1 - P)

    Args:
        difference: (M,), score of the first minus score of the second completion.
        probability: (M,) or a number, how likely people prefer the first; 1 for a plain choice.
    """
    return -(probability * logsigmoid(difference) + (1 - probability) * logsigmoid(-difference)).mean()


def ranking_pairs(sizes: list[int]) -> tuple[Tensor, Tensor]:
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
