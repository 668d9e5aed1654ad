"""Ragged sequences without padding: one forward over all their tokens, read only where an answer is needed.

Linear layers see the tokens of all sequences end to end. Attention alone needs rows; there the tokens stand at the
left of each row, so that the causal mask hides what fills it. The last layer goes on only with the tokens that are
read.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from textrl_env.lm.forward.trunks import Heads, Layer, Trunk, recompute as recompute_step
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
