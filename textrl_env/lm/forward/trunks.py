"""The layers of GPT-2 and Llama models as plain steps, for forwards that bring their own attention; recomputation.

transformers' own forward builds masks, caches and padding for every call. What `packing` and `decoding` need is less:
queries, keys and values of a layer, and what follows once attention is done. The modules and parameters are the
model's own, so training, adapters and `save_pretrained` see no difference; other architectures take the stock forward.

Gradient checkpointing lets layers keep only their inputs for the backward pass, which computes the rest once more:
memory of the activations falls to about one layer's, forward work is done twice (Chen et al. 2016). transformers' own
switch works in training mode only, which would turn dropout on, and there it refuses caches; `recompute_layers` works
in a forward and leaves no trace.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import GPT2Model, LlamaModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

Rotation = tuple[Tensor, Tensor] | None
"""Cosines and sines of rotary positions, (T, d) each, or None where positions are embedded."""


class Heads(NamedTuple):
    """Queries (T, heads, d), keys and values (T, key-value heads, d) of T tokens."""

    queries: Tensor
    keys: Tensor
    values: Tensor


class Layer(Protocol):
    """A transformer layer around its attention."""

    def heads(self, x: Tensor, rotation: Rotation) -> Heads:
        """Projects tokens (T, H)."""

    def after_attention(self, x: Tensor, context: Tensor) -> Tensor:
        """Computes the layer's output (T, H) from its input x (T, H) and what its heads attended to, `context`.

        `context` has the heads' results side by side, (T, heads · d).
        """


class Trunk(Protocol):
    """A transformer without its head."""

    @property
    def layers(self) -> Sequence[Layer]:
        """The layers from the first to the last."""

    def embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Embeds tokens (T,) at positions (T,): (T, H)."""

    def rotation(self, x: Tensor, positions: Tensor) -> Rotation:
        """Computes the rotation of positions (T,)."""

    def norm(self, x: Tensor) -> Tensor:
        """Applies the final norm, (T, H) -> (T, H)."""


def trunk_of(model: Any) -> Trunk | None:
    """Finds the trunk of a model of transformers, with or without its head; None where only its own forward is right.

    That is another architecture, dropout that is on, and a model in which somebody gave a module a forward of its own,
    or hooks on one that consists of others: going through its parts would pass them by (FSDP gathers parameters so).
    """
    base = model.base_model
    if any(_is_changed(module) for module in model.modules()):
        return None
    if type(base) is GPT2Model and _is_plain_gpt2(base.config) and type(base.drop) is nn.Dropout:
        return _GPT2(base)
    if type(base) is LlamaModel and not (base.training and base.config.attention_dropout > 0):
        return _Llama(base)
    return None


def _is_changed(module: nn.Module) -> bool:
    has_hooks = (module._forward_pre_hooks or module._forward_hooks) and next(module.children(), None) is not None
    drops = isinstance(module, nn.Dropout) and module.training and module.p > 0
    return "forward" in vars(module) or bool(has_hooks) or drops


def _is_plain_gpt2(config: Any) -> bool:
    return (
        config.activation_function in _GELU
        and config.scale_attn_weights
        and not (config.scale_attn_by_inverse_layer_idx or config.reorder_and_upcast_attn or config.add_cross_attention)
    )


# transformers spells this activation out in eight operations; torch has it as one.
_GELU = {"gelu_new": "tanh", "gelu_pytorch_tanh": "tanh", "gelu": "none"}


class _GPT2:
    def __init__(self, model: Any) -> None:
        self.model = model
        self.layers: Sequence[Layer] = [_GPT2Layer(block, model.config) for block in model.h]

    def embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        x: Tensor = self.model.wte(ids) + self.model.wpe(positions)
        return x

    def rotation(self, x: Tensor, positions: Tensor) -> Rotation:
        return None

    def norm(self, x: Tensor) -> Tensor:
        out: Tensor = self.model.ln_f(x)
        return out


class _GPT2Layer:
    def __init__(self, block: Any, config: Any) -> None:
        self.block, self.n_heads = block, config.n_head
        self.gelu = _GELU[config.activation_function]

    def heads(self, x: Tensor, rotation: Rotation) -> Heads:
        projections: Tensor = self.block.attn.c_attn(self.block.ln_1(x))
        return Heads(*projections.view(len(x), 3, self.n_heads, -1).unbind(1))

    def after_attention(self, x: Tensor, context: Tensor) -> Tensor:
        x = x + self.block.attn.c_proj(context)
        mlp = self.block.mlp
        out: Tensor = x + mlp.c_proj(torch.nn.functional.gelu(mlp.c_fc(self.block.ln_2(x)), approximate=self.gelu))
        return out


class _Llama:
    def __init__(self, model: Any) -> None:
        self.model = model
        self.layers: Sequence[Layer] = [_LlamaLayer(layer) for layer in model.layers]

    def embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        x: Tensor = self.model.embed_tokens(ids)
        return x

    def rotation(self, x: Tensor, positions: Tensor) -> Rotation:
        cosines, sines = self.model.rotary_emb(x, positions[None])
        return cosines[0], sines[0]

    def norm(self, x: Tensor) -> Tensor:
        out: Tensor = self.model.norm(x)
        return out


class _LlamaLayer:
    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def heads(self, x: Tensor, rotation: Rotation) -> Heads:
        assert rotation is not None
        attention, y = self.layer.self_attn, self.layer.input_layernorm(x)
        queries, keys, values = (
            project(y).view(len(x), -1, attention.head_dim)
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        queries, keys = apply_rotary_pos_emb(queries, keys, *rotation)
        return Heads(queries, keys, values)

    def after_attention(self, x: Tensor, context: Tensor) -> Tensor:
        x = x + self.layer.self_attn.o_proj(context)
        out: Tensor = x + self.layer.mlp(self.layer.post_attention_layernorm(x))
        return out


def recompute(function: Callable[..., Tensor], *arguments: Any, **options: Any) -> Tensor:
    """Returns function(*arguments) without keeping its inner tensors for the backward pass; it must draw no numbers."""
    result: Tensor = checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False, **options)
    return result


@contextmanager
def recompute_layers(model: Any, *, on: bool) -> Iterator[None]:
    """Recomputes every layer of a model of transformers (`recompute`) within the context, where `on`."""
    layers = [module for module in model.modules() if on and isinstance(module, GradientCheckpointingLayer)]
    for layer in layers:
        layer.forward = partial(recompute, layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
