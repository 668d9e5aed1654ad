"""How much memory a training stage will take, from the sizes of its models and batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FLOAT = 4
"""Bytes of a float32."""


@dataclass(frozen=True)
class Footprint:
    """What a stage holds in memory at once; model folders are named once per copy.

    Attributes:
        trained: models whose parameters are trained.
        frozen: models that are only read.
        training_tokens: the most tokens in one forward and backward pass.
        cached_tokens: the most tokens in a key-value cache.
    """

    trained: Sequence[Path] = ()
    frozen: Sequence[Path] = ()
    training_tokens: int = 0
    cached_tokens: int = 0


def estimate(footprint: Footprint) -> dict[str, float]:
    """Bytes by purpose, in float32; an estimate, and no bound.

    With P parameters, d the hidden size, f the feed-forward size, n layers, V tokens and d_kv the size of a layer's
    keys (values are as large), T tokens in a pass and S in a cache:

        weights      4 P            of every model
        gradients    4 P            of trained ones
        optimizer    8 P            of trained ones: Adam's two moments (Kingma & Ba 2015)
        activations  4 T (n (13 d + 4 f) + 3 V)   of the largest trained model: for the backward pass a layer keeps
                     three arrays for each of its two norms, queries, keys, values, the attention's output, three inputs
                     of linear layers, and four arrays of the feed-forward part; the head keeps logits, their
                     log-softmax and the gradient
        caches       4 S n 2 d_kv   of the largest model
    """
    trained, frozen = ([_sizes(folder) for folder in folders] for folders in (footprint.trained, footprint.frozen))
    largest = max((each["activations"] for each in trained), default=0)
    cached = max((each["cache"] for each in [*trained, *frozen]), default=0)
    learnt = sum(each["parameters"] for each in trained)
    return {
        "weights": FLOAT * (learnt + sum(each["parameters"] for each in frozen)),
        "gradients": FLOAT * learnt,
        "optimizer": 2 * FLOAT * learnt,
        "activations": FLOAT * footprint.training_tokens * largest,
        "caches": FLOAT * footprint.cached_tokens * cached,
    }


def longest_tokens(model: Path, texts: Sequence[Any]) -> int:
    """Tokens of the longest of some prompts (texts or conversations), by the tokenizer in a model's folder."""
    from transformers import AutoTokenizer

    from textrl_env.data.text import encode_prompt

    tokenizer = AutoTokenizer.from_pretrained(model)
    return max(len(encode_prompt(tokenizer, text)) for text in texts)


def _sizes(folder: Path) -> Mapping[str, int]:
    """Of one model, from its config alone: parameters, and floats per token of activations and of the cache."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config: Any = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    text = config.get_text_config()
    hidden, layers, heads = text.hidden_size, text.num_hidden_layers, text.num_attention_heads
    inner = getattr(text, "intermediate_size", None) or 4 * hidden
    keys = (getattr(text, "num_key_value_heads", None) or heads) * (getattr(text, "head_dim", None) or hidden // heads)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "activations": layers * (13 * hidden + 4 * inner) + 3 * text.vocab_size,
        "cache": 2 * layers * keys,
    }
