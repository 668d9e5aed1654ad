"""Randomness that torch draws from its global generators (initial weights, dropout), decided by a seed of one's own."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Within, torch's global generators start from `seed`; afterwards they are as before.

    Args:
        seed: of everything drawn within.
        device: whose generator is used beside the CPU's, where it is a GPU.
    """
    with torch.random.fork_rng(devices=[device] if device is not None and device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
