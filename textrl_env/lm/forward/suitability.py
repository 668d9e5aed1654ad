"""Facts about a model's forward that decide how it is run: whether it is causal, and whether its cache can be edited.

They are asked of the model, its configuration and a forward of a few tokens, not of a list of architectures.
"""

import inspect
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from textrl_env.errors import InputError
from textrl_env.lm.context import embeds_padding_positions
from textrl_env.lm.forward.trunks import trunk_of

EDITABLE_LAYERS = (DynamicLayer, DynamicSlidingWindowLayer)
"""Layers of transformers' caches that hold a key and a value a token; others hold states that have read all of them."""
ROUNDING = 64
"""Machine epsilons, in units of the logits' spread, by which a causal model's may differ beside other rows."""

_causal: dict[tuple[type, str], bool] = {}


def call_model(model: Any, **options: Any) -> Any:
    """Calls a model with the options that its forward takes: all, where it takes any."""
    parameters = inspect.signature(model.forward).parameters
    if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
        options = {name: value for name, value in options.items() if name in parameters}
    return model(**options)


def require_causal(model: Any, *, role: str) -> None:
    """Raises InputError unless a model predicts each token from those before it.

    Args:
        model: of transformers.
        role: what it is for the caller, for the message: "the policy", "the reference model".
    """
    name, is_network = type(model).__name__, isinstance(model, nn.Module)
    if not is_network:
        raise InputError(f"{role} must be a model of transformers, got {name} {model!r:.80}; load it first")
    if "decoder_input_ids" in inspect.signature(model.forward).parameters:
        raise InputError(
            f"{role} must be a causal language model, {name} is an encoder with a decoder, which reads prompt and "
            "completion apart; take a model of AutoModelForCausalLM"
        )
    if not hasattr(model, "get_output_embeddings") or model.get_output_embeddings() is None:
        raise InputError(
            f"{role} must be a causal language model, {name} has no head that predicts tokens; load it with "
            "AutoModelForCausalLM"
        )
    if not _is_causal(model):
        raise InputError(
            f"{role} must be a causal language model, {name} reads the tokens to the right of a place as well; take "
            "another model (one of BERT's kind reads from left to right with is_decoder=True in its configuration)"
        )


@torch.no_grad()
def _is_causal(model: Any) -> bool:
    """Says whether logits depend on no later token: those of a text must not change with its last one."""
    if trunk_of(model) is not None or model.training:
        return True
    key = type(model), model.config.to_json_string()
    parameter = next(model.parameters())
    device, dtype = parameter.device, parameter.dtype
    if key not in _causal and device.type != "meta":
        size = model.get_input_embeddings().num_embeddings
        # Two rows are alike, the third has another last token: its logits before that one must be theirs.
        ids = torch.tensor([[1 % size, 2 % size, 0, last % size] for last in (1, 1, 2)], device=device)
        logits = call_model(model, input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits.float()
        noise, difference = ((logits[0] - row)[:-1].abs().max() for row in logits[1:])
        bound = ROUNDING * torch.finfo(dtype).eps * logits.std()
        if not noise <= bound:
            return True  # Whoever gives dropout or NaN back says nothing of what it reads.
        _causal[key] = not bool(difference > bound)
    return _causal.get(key, True)


def has_editable_cache(model: Any) -> bool:
    """Says whether keys and values of left-padded rows can be cut, moved and refilled in a model's cache.

    That takes layers of attention alone, whose masks and positions come from the caller. Layers with a recurrent or
    convolutional state have read everything before, and positions that a model counts in its cache are wrong beside
    shorter rows.
    """
    parameters = inspect.signature(model.forward).parameters
    if "input_ids" in parameters and "past_key_values" not in parameters:
        return False
    if getattr(model, "_is_stateful", False) or not _caches_keys_and_values(model.config.get_text_config(decoder=True)):
        return False
    if embeds_padding_positions(model):
        return False
    return "position_ids" in parameters or "input_ids" not in parameters or not _embeds_positions(model)


def _caches_keys_and_values(config: Any) -> bool:
    # Chunks of attention begin at columns of the cache, not at a row's positions.
    in_chunks = getattr(config, "attention_chunk_size", None) or "chunked_attention" in (
        getattr(config, "layer_types", None) or ()
    )
    try:
        layers = DynamicCache(config=config).layers
    except Exception:  # A configuration whose layers transformers has no cache for says so in many ways.
        return False
    return not in_chunks and all(type(layer) in EDITABLE_LAYERS for layer in layers)


def _embeds_positions(model: Any) -> bool:
    """Says whether a model has a table beside that of its tokens; without one, positions come from the mask (ALiBi)."""
    tables = {id(module) for module in model.modules() if isinstance(module, nn.Embedding)}
    return bool(tables - {id(model.get_input_embeddings())})
