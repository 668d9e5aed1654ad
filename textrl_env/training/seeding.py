"""Seeds for what torch draws from its global generators: initial weights, dropout."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from textrl_env.errors import require_seed


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Starts torch's global generators from `seed` within the context; afterwards they are as before.

    Args:
        seed: of everything drawn within.
        device: a GPU, whose generator is used beside the CPU's; the CPU and None add nothing.
    """
    with torch.random.fork_rng(devices=[device] if device is not None and device.type == "cuda" else []):
        torch.manual_seed(require_seed(seed))
        yield


def generator_states(device: torch.device) -> dict[str, Tensor]:
    """Returns the states of torch's global generators, to be restored by `restore_generators`.

    Args:
        device: of the training.

    Returns:
        "cpu" and, where the device is a GPU, "cuda": bytes, (n,) uint8.
    """
    states = {"cpu": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def restore_generators(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Sets torch's global generators to `states`, see `generator_states`; those not named there stay as they are."""
    if "cpu" in states:
        torch.set_rng_state(states["cpu"])
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
