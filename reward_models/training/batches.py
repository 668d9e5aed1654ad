"""The order in which training reads its rows: shuffled, with rows of similar length side by side."""

from collections.abc import Iterator, Sequence
from itertools import islice

import torch

BUCKET = 16
"""Batches of rows among which similar lengths are put together."""


def batches(lengths: Sequence[int], *, batch_size: int, n_epochs: int, seed: int, done: int = 0) -> Iterator[list[int]]:
    """Batches of row numbers, epoch by epoch; each row once an epoch.

    Args:
        lengths: of each row's longest completion, in tokens; those of a batch are similar, so that little is padding.
        batch_size: rows of a batch; the last of a bucket may have fewer.
        n_epochs: passes over the rows.
        seed: of the order.
        done: batches to leave out at the start; a resumed training goes on after them.
    """
    return islice(_all(lengths, batch_size, n_epochs, torch.Generator().manual_seed(seed)), done, None)


def n_batches(n_rows: int, *, batch_size: int, n_epochs: int) -> int:
    """How many batches there are."""
    return -(-n_rows // batch_size) * n_epochs


def _all(lengths: Sequence[int], size: int, n_epochs: int, generator: torch.Generator) -> Iterator[list[int]]:
    for _ in range(n_epochs):
        order = torch.randperm(len(lengths), generator=generator).tolist()
        found = []
        for start in range(0, len(order), BUCKET * size):
            bucket = sorted(order[start : start + BUCKET * size], key=lambda row: lengths[row])
            found += [bucket[first : first + size] for first in range(0, len(bucket), size)]
        for index in torch.randperm(len(found), generator=generator).tolist():
            yield found[index]
