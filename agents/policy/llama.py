"""A small Llama-type causal LM from scratch, for a tokenizer."""

from typing import Any

from transformers import LlamaConfig, LlamaForCausalLM

from textrl_env.errors import InputError, require_at_least
from textrl_env.training import seeded


def small_llama(
    tokenizer: Any, *, hidden_size: int = 96, layers: int = 2, heads: int = 4, context: int = 256, seed: int = 0
) -> Any:
    """A `LlamaForCausalLM` with tied embeddings and random weights from `seed`.

    The weights' spread of 0.1 is five times the usual one: at the usual one, a model of this width does not learn to
    copy words of the prompt within a few hundred steps.

    Raises:
        InputError: a size below 1, or a hidden size that the heads cannot share evenly in pairs of dimensions.
    """
    require_at_least(1, hidden_size=hidden_size, layers=layers, heads=heads, context=context)
    if hidden_size % (2 * heads):
        raise InputError(f"hidden_size must be a multiple of {2 * heads} (2 x {heads} heads), got {hidden_size}")
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=hidden_size, intermediate_size=3 * hidden_size,
        num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=heads,
        max_position_embeddings=context, initializer_range=0.1, tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        bos_token_id=getattr(tokenizer, "bos_token_id", None),
    )  # fmt: skip
    with seeded(seed):
        return LlamaForCausalLM(config).eval()
