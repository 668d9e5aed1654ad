"""Tokens that are already written under a model: states, logits and log-probabilities, read where they count."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from textrl_env.lm.forward.packing import pack, packed_states, positions
from textrl_env.lm.forward.trunks import recompute_layers, trunk_of
from textrl_env.lm.precision import in_float32


def read_states(base_model: Any, ids: Tensor, mask: Tensor, read: Tensor, *, recompute: bool = False) -> Tensor:
    """Computes the final hidden states of some tokens of padded sequences, with gradients.

    Args:
        base_model: a transformer of transformers without its head.
        ids: (B, L).
        mask: (B, L), True on each sequence's tokens, which stand side by side.
        read: (B, L), True where the state after the token is wanted; only where mask is.
        recompute: gradient checkpointing, see `textrl_env.lm.forward.trunks`.

    Returns:
        (R, H), in the order of rows, then of tokens.
    """
    trunk = trunk_of(base_model)
    if trunk is not None:
        return packed_states(trunk, pack(ids, mask, read), recompute=recompute)
    attention_mask = mask.long()
    with recompute_layers(base_model, on=recompute):
        output = base_model(
            input_ids=ids, attention_mask=attention_mask, position_ids=positions(attention_mask), use_cache=False
        )
    states: Tensor = output.last_hidden_state[read]
    return states


class Read(NamedTuple):
    """Logits (R, V_model) of the next token after the states that were read, and those states (R, H) if asked for."""

    logits: Tensor
    states: Tensor | None


def read_logits(
    model: Any, ids: Tensor, mask: Tensor, read: Tensor, *, with_states: bool = False, recompute: bool = False
) -> Read:
    """Computes next-token logits of a causal LM after some tokens of padded sequences, with gradients.

    Args:
        model: a causal LM of transformers; GPT-2 and Llama run packed, see `textrl_env.lm.forward.packing`, others as
            they are.
        ids: (B, L).
        mask: (B, L), True on each sequence's tokens, which stand side by side.
        read: (B, L), True where the logits after the token are wanted; only where mask is.
        with_states: True where the hidden states are wanted too.
        recompute: gradient checkpointing, see `textrl_env.lm.forward.trunks`.
    """
    states: Tensor | None
    trunk = trunk_of(model)
    if trunk is not None:
        states = packed_states(trunk, pack(ids, mask, read), recompute=recompute)
        with in_float32(ids.device):
            head = model.get_output_embeddings()
            return Read(head(states.to(head.weight.dtype)), states if with_states else None)
    attention_mask = mask.long()
    n_columns = ids.shape[1] - int(read.any(dim=0).int().argmax())
    with recompute_layers(model, on=recompute):
        output = model(
            input_ids=ids,
            attention_mask=attention_mask,
            position_ids=positions(attention_mask),
            use_cache=False,
            logits_to_keep=n_columns,
            output_hidden_states=with_states,
        )
    states = output.hidden_states[-1][read] if with_states else None
    return Read(output.logits[read[:, -n_columns:]], states)


def token_logprobs(logits: Tensor, tokens: Tensor, *, vocab_size: int, temperature: float = 1.0) -> Tensor:
    """Computes log softmax(logits[:V] / temperature) at the tokens: (R, V_model), (R,) -> (R,) float32."""
    logits = logits[:, :vocab_size].float()
    if temperature != 1.0:
        logits = logits / temperature
    return -torch.nn.functional.cross_entropy(logits, tokens, reduction="none")
