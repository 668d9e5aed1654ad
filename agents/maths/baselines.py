"""What a completion's return is compared with where there is no critic: the returns of other completions."""

import torch
from torch import Tensor


def others_mean(returns: Tensor) -> Tensor:
    """The mean of the other entries of a row, (N, G) -> (N, G), G at least 2 (Kool et al. 2019).

    It does not depend on the entry it is subtracted from, so a policy gradient with it stays unbiased.
    """
    return (returns.sum(dim=1, keepdim=True) - returns) / (returns.shape[1] - 1)


def group_normalised(returns: Tensor, *, floor: float = 1e-4) -> Tensor:
    """A row minus its mean, divided by its standard deviation + floor, (N, G) -> (N, G), G at least 2.

    Shao et al. 2024, section 4.1.2. A row of equal returns gives zeros.
    """
    return (returns - returns.mean(dim=1, keepdim=True)) / (returns.std(dim=1, keepdim=True) + floor)


def to_tokens(advantages: Tensor, mask: Tensor) -> Tensor:
    """Every counted token gets its completion's advantage, the others 0: B of them in any shape, (B, C) -> (B, C)."""
    return torch.where(mask, advantages.reshape(-1, 1), 0.0)
