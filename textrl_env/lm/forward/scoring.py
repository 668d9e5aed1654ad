"""What a causal LM says of tokens that are already written: logits and log-probabilities, read where they count."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from textrl_env.lm.forward.packing import pack, packed_states, positions
from textrl_env.lm.forward.recomputation import recomputed_layers
from textrl_env.lm.forward.trunks import trunk_of
from textrl_env.lm.precision import in_float32


class Read(NamedTuple):
    """Logits (R, V_model) of the next token after the states that were read, and those states (R, H) if asked for."""

    logits: Tensor
    states: Tensor | None


def read_logits(
    model: Any, ids: Tensor, mask: Tensor, read: Tensor, *, with_states: bool = False, recompute: bool = False
) -> Read:
    """Next-token logits of a causal LM after some tokens of padded sequences, with gradients.

    Args:
        model: a causal LM of transformers; GPT-2 and Llama run packed, see `textrl_env.lm.forward.packing`, others as
            they are.
        ids, mask: (B, L); mask is True on each sequence's tokens, which stand side by side.
        read: (B, L), True where the logits after the token are wanted; only where mask is.
        with_states: whether the hidden states are wanted too.
        recompute: gradient checkpointing, see `textrl_env.lm.forward.recomputation`.
    """
    states: Tensor | None
    trunk = trunk_of(model)
    if trunk is not None:
        states = packed_states(trunk, pack(ids, mask, read), recompute=recompute)
        with in_float32(ids.device):
            head = model.get_output_embeddings()
            return Read(head(states.to(head.weight.dtype)), states if with_states else None)
    attended = mask.long()
    kept = ids.shape[1] - int(read.any(dim=0).int().argmax())
    with recomputed_layers(model, on=recompute):
        output = model(
            input_ids=ids, attention_mask=attended, position_ids=positions(attended), use_cache=False,
            logits_to_keep=kept, output_hidden_states=with_states,
        )  # fmt: skip
    states = output.hidden_states[-1][read] if with_states else None
    return Read(output.logits[read[:, -kept:]], states)


def token_logprobs(logits: Tensor, tokens: Tensor, *, vocab_size: int, temperature: float = 1.0) -> Tensor:
    """Log softmax(logits[:V] / temperature) at the tokens: (R, V_model), (R,) -> (R,) float32."""
    scaled = logits[:, :vocab_size].float()
    if temperature != 1.0:
        scaled = scaled / temperature
    return -torch.nn.functional.cross_entropy(scaled, tokens, reduction="none")
