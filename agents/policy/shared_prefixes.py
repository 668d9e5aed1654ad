"""Many states of few texts: a text that another one begins with is read on the way through the longer one."""

from typing import NamedTuple

import torch
from torch import Tensor


class SharedPrefixes(NamedTuple):
    """The texts that no other one goes on from, and where all states are read in them.

    Attributes:
        ids, mask: (M, L), the M texts from the left, mask True on their tokens.
        read: (M, L), True on the last token of each text that was given.
        order: (B,), which of the tokens that are read, row by row, is the last of each text that was given.
    """

    ids: Tensor
    mask: Tensor
    read: Tensor
    order: Tensor


def share_prefixes(ids: Tensor, mask: Tensor) -> SharedPrefixes:
    """Of B left-padded texts of at least one token, (B, L) each."""
    lengths, columns = mask.sum(dim=1, keepdim=True), torch.arange(ids.shape[1], device=ids.device)
    shifted = ids.gather(1, (columns + ids.shape[1] - lengths).clamp_max(ids.shape[1] - 1))
    # Nothing sorts before every token: a text stands right before all that go on from it.
    nothing = -1
    texts, place = torch.unique(shifted.where(columns < lengths, nothing), dim=0, return_inverse=True)
    goes_on = ((texts[:-1] == texts[1:]) | (texts[:-1] == nothing)).all(dim=1)
    whole = torch.cat([~goes_on, goes_on.new_ones(1)])
    row, last = whole.cumsum(dim=0) - whole.long(), (texts != nothing).sum(dim=1) - 1
    kept = texts[whole]
    read = torch.zeros_like(kept, dtype=torch.bool)
    read[row, last] = True
    order = (read.flatten().cumsum(dim=0) - 1).view_as(read)[row, last]
    return SharedPrefixes(kept.clamp_min(0), kept != nothing, read, order[place])
