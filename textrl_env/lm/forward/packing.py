"""Ragged sequences without padding: one forward over all their tokens, read only where an answer is needed.

Linear layers see the tokens of all sequences end to end. Attention alone needs rows; there the tokens stand at the
left of each row, so that the causal mask hides what fills it. The last layer goes on only with the tokens that are
read.

Architectures whose layers are not taken apart (`trunks`) run through their own forward, with the sequences at the left:
what stands behind a sequence is invisible to a causal model, whether it attends or keeps a recurrent state, whereas
padding before it would have to be masked by everything that moves along a row.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from textrl_env.lm.forward.suitability import call_model
from textrl_env.lm.forward.trunks import Heads, Layer, Trunk, recompute as recompute_step, recompute_layers, trunk_of
from textrl_env.lm.precision import in_float32


@dataclass(frozen=True)
class Packing:
    """T tokens of B sequences, end to end.

    Attributes:
        ids: (T,).
        positions: (T,), from 0 in each sequence.
        cells: (T,), each token's place in a (B · `width`) grid whose rows are the sequences.
        read: (R,), indices of the tokens that are read.
        shape: (B, `width`), width the longest sequence's length.
    """

    ids: Tensor
    positions: Tensor
    cells: Tensor
    read: Tensor
    shape: tuple[int, int]


def pack(ids: Tensor, mask: Tensor, read: Tensor) -> Packing:
    """Packs the tokens under `mask` (B, L) of ids (B, L); `read` (B, L) is True on those that are read."""
    lengths = mask.sum(dim=1)
    width = int(lengths.max())
    at = positions(mask.long())[mask]
    rows = torch.arange(len(ids), device=ids.device).repeat_interleave(lengths)
    return Packing(ids[mask], at, rows * width + at, read[mask].nonzero().squeeze(1), (len(ids), width))


def packed_states(trunk: Trunk, packing: Packing, *, recompute: bool = False) -> Tensor:
    """Computes the final hidden states of the tokens that are read, (R, H)."""

    def through(layer: Layer, x: Tensor) -> Tensor:
        return layer.after_attention(x, attend(layer.heads(x, rotation), packing)[packing.cells])

    x = trunk.embed(packing.ids, packing.positions)
    rotation = trunk.rotation(x, packing.positions)
    *first, last = trunk.layers
    for layer in first:
        x = recompute_step(through, layer, x) if recompute else through(layer, x)
    # The backward pass begins with the last layer: to recompute it would save nothing.
    context = attend(last.heads(x, rotation), packing)[packing.cells[packing.read]]
    return trunk.norm(last.after_attention(x[packing.read], context))


def attend(heads: Heads, packing: Packing) -> Tensor:
    """Computes causal attention within each sequence: T tokens' heads -> (B · width, heads · d)."""
    batch, width = packing.shape

    def grid(tokens: Tensor) -> Tensor:
        # A CPU's half-precision attention is slower than float32's, and less exact.
        tokens = tokens.float() if tokens.device.type == "cpu" else tokens
        cells = tokens.new_zeros(batch * width, *tokens.shape[1:]).index_copy(0, packing.cells, tokens)
        return cells.view(batch, width, *tokens.shape[1:]).transpose(1, 2)

    queries, keys, values = map(grid, heads)
    # Under autocast torch would round float32 inputs; its backward pass then takes three times as long on a CPU.
    with in_float32(queries.device):
        out = torch.nn.functional.scaled_dot_product_attention(
            queries, keys, values, is_causal=True, enable_gqa=queries.shape[1] != keys.shape[1]
        )
    return out.transpose(1, 2).reshape(batch * width, -1).to(heads.values.dtype)


def positions(mask: Tensor) -> Tensor:
    """Computes position ids of masked rows, 0 at the first counted token: (R, W) -> (R, W)."""
    return (mask.cumsum(dim=1) - 1).clamp_min(0)


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
    rows = at_left(ids, mask, read)
    inputs = {"input_ids": rows.ids, "attention_mask": rows.mask.long(), "use_cache": False, "return_dict": True}
    with recompute_layers(base_model, on=recompute):
        output = call_model(base_model, **inputs)
        # A causal LM that holds its trunk under another name than it says is its own base model.
        if getattr(output, "last_hidden_state", None) is None:
            output = call_model(base_model, **inputs, output_hidden_states=True)
            return output.hidden_states[-1][rows.read]  # type: ignore[no-any-return]
    states: Tensor = output.last_hidden_state[rows.read]
    return states


class Rows(NamedTuple):
    """Sequences that begin at the left: ids, mask and which tokens are read, (B, W) each; W is the longest's length."""

    ids: Tensor
    mask: Tensor
    read: Tensor


def at_left(ids: Tensor, mask: Tensor, read: Tensor) -> Rows:
    """Moves each sequence of padded rows (B, L) to the left; under the mask's False stands any token."""
    lengths = mask.sum(dim=1, keepdim=True)
    places = torch.arange(int(lengths.max()), device=ids.device)
    columns = (mask.int().argmax(dim=1, keepdim=True) + places).clamp_max(ids.shape[1] - 1)
    counts = places < lengths
    return Rows(ids.gather(1, columns), counts, read.gather(1, columns) & counts)


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
    rows = at_left(ids, mask, read)
    with recompute_layers(model, on=recompute), _reading(model.base_model, rows.read) as trunk_states:
        output = call_model(
            model, input_ids=rows.ids, attention_mask=rows.mask.long(), use_cache=False, return_dict=True
        )
    if trunk_states:
        return Read(output.logits[0], trunk_states[-1] if with_states else None)
    states = read_states(model.base_model, ids, mask, read, recompute=recompute) if with_states else None
    return Read(output.logits[rows.read], states)


@contextmanager
def _reading(base_model: Any, read: Tensor) -> Iterator[list[Tensor]]:
    """Lets a head go on with the states under `read` (B, W) alone; yields a list that receives them, (R, H).

    Logits of every token would be the largest tensor of a forward. The list stays empty where a model passes its
    trunk by.
    """
    states: list[Tensor] = []

    def keep_read(module: Any, arguments: Any, output: Any) -> Any:
        if getattr(output, "last_hidden_state", None) is None:
            return output
        states.append(output.last_hidden_state[read])
        output.last_hidden_state = states[-1][None]
        return output

    handle = base_model.register_forward_hook(keep_read)
    try:
        yield states
    finally:
        handle.remove()


def token_logprobs(logits: Tensor, tokens: Tensor, *, vocab_size: int, temperature: float = 1.0) -> Tensor:
    """Computes log softmax(logits[:V] / temperature) at the tokens: (R, V_model), (R,) -> (R,) float32."""
    logits = logits[:, :vocab_size].float()
    if temperature != 1.0:
        logits = logits / temperature
    return -torch.nn.functional.cross_entropy(logits, tokens, reduction="none")
