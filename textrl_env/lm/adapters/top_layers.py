"""Training only the last layers of a transformer: less memory, and the backward pass stops where learning stops."""

from typing import Any

from torch import nn

from textrl_env.errors import InputError


def train_top_layers(model: Any, n: int | None) -> None:
    """Freezes a model of transformers but for its last `n` layers, its final norm and a classifier's score head.

    Embeddings stay frozen, and with them an output head that is tied to them. `None` leaves the model as it is.

    Raises:
        InputError: `n` is not in [1, number of layers], or the model has no list of layers.
    """
    if n is None:
        return
    trunk = model.base_model
    stack = next((part for part in trunk.children() if isinstance(part, nn.ModuleList)), None)
    if stack is None:
        raise InputError(f"{type(model).__name__} has no list of layers, so none of them can be frozen")
    if not 1 <= n <= len(stack):
        raise InputError(f"the number of trained layers must be in [1, {len(stack)}], got {n}")
    model.requires_grad_(False)
    above = [part for part in trunk.children() if not isinstance(part, nn.Embedding | nn.ModuleList)]
    for part in (*stack[-n:], *above, *filter(None, [getattr(model, "score", None)])):
        part.requires_grad_(True)
