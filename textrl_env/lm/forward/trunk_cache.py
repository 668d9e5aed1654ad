"""The cache of packed trunks (GPT-2, Llama): one block of memory, read no farther back than rows reach."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from textrl_env.lm.forward.caches import Beginnings, StepCache, StockCache, TokenCache
from textrl_env.lm.forward.packing import Packing, attend, pack
from textrl_env.lm.forward.suitability import has_editable_cache
from textrl_env.lm.forward.trunks import Heads, Trunk, trunk_of
from textrl_env.lm.precision import in_float32

BLOCK = 16
"""Rows of a CPU's cache that are read together, as far back as the longest of them reaches."""
WORTH_A_CALL = 2**18
"""Bytes that must be left unread for one more call of attention to pay on a CPU."""
LEAST_GROWTH = 16
"""Columns by which the memory grows at least."""


def cache_for(model: Any) -> StepCache:
    """Makes the fastest cache that is right for a causal LM of transformers."""
    trunk = trunk_of(model)
    if trunk is not None:
        return TrunkCache(model, trunk)
    return StockCache(model) if has_editable_cache(model) else TokenCache(model)


class TrunkCache:
    """A `StepCache` whose keys and values lie in one tensor with room to grow.

    `_memory` is (layers, 2, R, key-value heads, room, d); of axis 1, 0 holds keys and 1 values. Along the axis `room`
    each row looks like this (p: padding, which the mask leaves out; x: a token; ·: room that nobody reads):

        column   0         first                     end        room
                 |           |                        |           |
        row 0    · · · · · · p p x x x x x x x x x x x · · · · · ·    long episode
        row 1    · · · · · · x x x x x x x x x x x x x · · · · · ·
        row 2    · · · · · · p p p p p p p p p x x x x · · · · · ·    refilled: begun anew, its prompt
                             |<----- window, W ------>|^                just before the newest column
                                                       append writes here, in all rows at once

    - `append` writes column `end` and moves `end` right by one; nothing is copied. Beginnings of refilled rows go
      through the layers in the same pass and are written into the columns before it.
    - `crop` moves `first` right, `pad` moves it left again.
    - Where `end` reaches `room`, the window is copied to the left edge of a memory twice as wide.
    - Where rows differ in length, as refilled ones do, attention reads them block by block (`_blocks`), each as far
      back as its longest row: on a CPU most of its time is the reading. `arrange` puts rows of similar length together.
    """

    def __init__(self, model: Any, trunk: Trunk) -> None:
        self.trunk, self.head = trunk, model.get_output_embeddings()
        self._memory = torch.empty(0)
        self._first, self._end = 0, 0
        self._blocks: list[tuple[slice, int]] = []
        """Rows that are read together, and how many columns back from `_end`; empty where it is to be found anew."""

    def start(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Forgets everything and reads left-padded rows (R, W)."""
        n_rows, width = ids.shape
        self._first, self._end, self._blocks = 0, width, []
        newest = torch.zeros_like(mask, dtype=torch.bool)
        newest[:, -1] = True
        packing = pack(ids, mask.bool(), newest)
        row, column = mask.nonzero(as_tuple=True)
        x = self.trunk.embed(packing.ids, packing.positions)
        rotation = self.trunk.rotation(x, packing.positions)
        for index, layer in enumerate(self.trunk.layers):
            heads = layer.heads(x, rotation)
            if index == 0:
                self._memory = self._allocate(n_rows, heads.keys)
            keys, values = self._memory[index]
            keys[row, :, column], values[row, :, column] = heads.keys.to(keys.dtype), heads.values.to(keys.dtype)
            x = layer.after_attention(x, attend(heads, packing)[packing.cells])
        return self._logits(x[packing.read])

    def append(self, ids: Tensor, at: Tensor, mask: Tensor, beginnings: Beginnings | None = None) -> Tensor:
        """Reads one token a row, and the beginnings of rows that start anew."""
        self._make_room()
        column, n_rows = self._end, len(ids)
        packing: Packing | None = None
        if beginnings is not None:
            packing = pack(beginnings.ids, beginnings.mask.bool(), torch.zeros_like(beginnings.mask, dtype=torch.bool))
            ids, at = torch.cat([ids, packing.ids]), torch.cat([at, packing.positions])
            place, offset = beginnings.mask.nonzero(as_tuple=True)
            row, older_column = beginnings.places[place], offset + column - beginnings.ids.shape[1]
        self._end += 1
        self._update_blocks(mask)
        x = self.trunk.embed(ids, at)
        rotation = self.trunk.rotation(x, at)
        counts = mask.bool()[:, None, None]
        for layer, (keys, values) in zip(self.trunk.layers, self._memory.unbind(0), strict=True):
            heads = layer.heads(x, rotation)
            keys[:, :, column], values[:, :, column] = heads.keys[:n_rows], heads.values[:n_rows]
            if packing is not None:
                older = Heads(*(part[n_rows:] for part in heads))
                keys[row, :, older_column] = older.keys.to(keys.dtype)
                values[row, :, older_column] = older.values.to(keys.dtype)
            context = self._attend(heads.queries[:n_rows].to(keys.dtype), keys, values, counts)
            context = context.to(heads.values.dtype)
            if packing is not None:
                context = torch.cat([context, attend(older, packing)[packing.cells]])
            x = layer.after_attention(x, context)
        return self._logits(x[:n_rows])

    def arrange(self, lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Moves rows so that blocks hold rows of similar length; only on a CPU, where it pays."""
        order, lengths, memory = np.arange(len(lengths)), lengths.copy(), self._memory
        self._blocks = []
        if memory.device.type != "cpu":
            return order
        for place in np.flatnonzero(lengths == 0).tolist():
            # Each later block gives its longest row to the one before, and the new row joins the last.
            for start in range((place // BLOCK + 1) * BLOCK, len(lengths), BLOCK):
                longest = start + int(lengths[start : start + BLOCK].argmax())
                if lengths[longest] == 0:
                    continue
                columns = slice(self._end - int(lengths[longest]), self._end)
                memory[:, :, place, :, columns] = memory[:, :, longest, :, columns]
                swap = [longest, place]
                order[[place, longest]], lengths[[place, longest]] = order[swap], lengths[swap]
                place = longest
        return order

    def select(self, places: Tensor) -> None:
        """Keeps some rows, in this order."""
        self._memory, self._blocks = self._memory[:, :, places], []

    def crop(self, columns: int) -> None:
        """Drops leading columns."""
        self._first += columns
        self._blocks = []

    def pad(self, columns: int) -> None:
        """Adds leading columns, which no mask counts."""
        if columns > self._first:
            missing = columns - self._first
            self._memory = _pad_columns(self._memory, before=missing)
            self._first, self._end = self._first + missing, self._end + missing
        self._first -= columns

    def _allocate(self, n_rows: int, keys: Tensor) -> Tensor:
        """Makes room for the first columns and as many again, in float32 on a CPU, as attention is there."""
        dtype = torch.float32 if keys.device.type == "cpu" else keys.dtype
        _, n_heads, d = keys.shape
        return keys.new_zeros((len(self.trunk.layers), 2, n_rows, n_heads, 2 * self._end, d), dtype=dtype)

    def _make_room(self) -> None:
        """Makes room for one column more."""
        room = self._memory.shape[4]
        if self._end < room:
            return
        window = self._memory[:, :, :, :, self._first : self._end]
        width = window.shape[4]
        self._memory = _pad_columns(window, after=max(width, LEAST_GROWTH))
        self._first, self._end = 0, width

    def _update_blocks(self, mask: Tensor) -> None:
        """Brings up to date which rows are read together, and how many columns of them."""
        if self._blocks:
            self._blocks = [(rows, width + 1) for rows, width in self._blocks]
        else:
            _, _, _, n_heads, _, d = self._memory.shape
            column_bytes = 2 * n_heads * d * self._memory.element_size()
            self._blocks = row_blocks(mask, column_bytes)

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, counts: Tensor) -> Tensor:
        """Attends from each row's newest token to what its row holds.

        Args:
            queries: (R, heads, d).
            keys: (R, key-value heads, room, d).
            values: (R, key-value heads, room, d).
            counts: (R, 1, 1, W), True on the columns that count.

        Returns:
            (R, heads · d).
        """
        parts = []
        with in_float32(queries.device):
            for rows, width in self._blocks:
                columns = slice(self._end - width, self._end)
                context = torch.nn.functional.scaled_dot_product_attention(
                    queries[rows, :, None],
                    keys[rows, :, columns],
                    values[rows, :, columns],
                    attn_mask=counts[rows, ..., -width:],
                    enable_gqa=queries.shape[1] != keys.shape[1],
                )
                parts.append(context.reshape(len(context), -1))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _logits(self, x: Tensor) -> Tensor:
        with in_float32(x.device):
            logits: Tensor = self.head(self.trunk.norm(x).to(self.head.weight.dtype))
        return logits


def row_blocks(mask: Tensor, column_bytes: int) -> list[tuple[slice, int]]:
    """Groups neighbouring rows that are read together, with the columns to read, counted from the last.

    Args:
        mask: (R, W), 1 = counts.
        column_bytes: size of one column of one row, in one layer.
    """
    n_rows, width = mask.shape
    if mask.device.type != "cpu":
        return [(slice(0, n_rows), width)]
    lengths = (width - mask.argmax(dim=1)).tolist()
    blocks: list[tuple[slice, int]] = []
    for start in range(0, n_rows, BLOCK):
        stop = min(start + BLOCK, n_rows)
        longest = max(lengths[start:stop])
        if blocks:
            before, before_width = blocks[-1]
            wider = max(before_width, longest)
            unread = (wider - before_width) * (before.stop - before.start) + (wider - longest) * (stop - start)
            if unread * column_bytes < WORTH_A_CALL:
                blocks[-1] = (slice(before.start, stop), wider)
                continue
        blocks.append((slice(start, stop), longest))
    return blocks


def _pad_columns(memory: Tensor, *, before: int = 0, after: int = 0) -> Tensor:
    """Adds columns of zeros on the left and on the right."""
    return torch.nn.functional.pad(memory, (0, 0, before, after))
