"""Gradient checkpointing: layers keep only their inputs for the backward pass, which computes the rest once more.

Memory of the activations falls to about one layer's; forward work is done twice (Chen et al. 2016). transformers' own
switch works in training mode only, which would turn dropout on, and there it refuses caches; this one works in a
forward and leaves no trace.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer


def recomputed(function: Callable[..., Tensor], *arguments: Any, **options: Any) -> Tensor:
    """function(*arguments), whose inner tensors are not kept for the backward pass. The function draws no numbers."""
    result: Tensor = checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False, **options)
    return result


@contextmanager
def recomputed_layers(model: Any, *, on: bool) -> Iterator[None]:
    """Within, and with `on`, every layer of a model of transformers is `recomputed`."""
    layers = [module for module in model.modules() if on and isinstance(module, GradientCheckpointingLayer)]
    for layer in layers:
        layer.forward = partial(recomputed, layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
