"""Key-value caches of R rows that all append at the same column: transformers' own, and a faster one for packed trunks.

Both hold W columns per row; which of a row's columns count is the caller's mask, (R, W), 1 = counts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import DynamicCache

from textrl_env.lm.forward.packing import Packing, attend, pack, positions
from textrl_env.lm.forward.trunks import Heads, Trunk, trunk_of
from textrl_env.lm.precision import in_float32

BLOCK = 16
"""Rows of a CPU's cache that are read together, as far back as the longest of them reaches."""
WORTH_A_CALL = 2**18
"""Bytes that must be left unread for one more call of attention to pay on a CPU."""


@dataclass(frozen=True)
class Beginnings:
    """Left-padded beginnings of rows that start anew, all but their newest tokens.

    Attributes:
        places: (K,), the rows.
        ids, mask: (K, w), w at most the cache's width.
    """

    places: Tensor
    ids: Tensor
    mask: Tensor


class StepCache(Protocol):
    """What `decoding.CachedDecoder` asks of a cache."""

    def start(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Forgets everything and reads left-padded rows (R, W); logits after the newest tokens, (R, V_model)."""

    def append(self, ids: Tensor, at: Tensor, mask: Tensor, begun: Beginnings | None = None) -> Tensor:
        """Reads one token a row, (R,), at positions (R,); mask (R, W + 1) counts it in. Logits (R, V_model).

        What has `begun` anew is written into the last columns before that token's.
        """

    def arrange(self, used: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Moves rows to where they are read fastest: columns in use (R,), 0 where a row starts anew.

        Returns (R,): the row that stands at each place now.
        """

    def select(self, places: Tensor) -> None:
        """Keeps some rows, in this order."""

    def crop(self, columns: int) -> None:
        """Drops leading columns."""

    def pad(self, columns: int) -> None:
        """Adds leading columns, which no mask counts."""


def cache_for(model: Any) -> StepCache:
    """The fastest cache that is right for a causal LM of transformers."""
    trunk = trunk_of(model)
    return _StockCache(model) if trunk is None else _TrunkCache(model, trunk)


class _StockCache:
    """transformers' `DynamicCache`, edited from outside."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def start(self, ids: Tensor, mask: Tensor) -> Tensor:
        self._cache = DynamicCache()
        return self._forward(ids, mask, positions(mask), self._cache)

    def append(self, ids: Tensor, at: Tensor, mask: Tensor, begun: Beginnings | None = None) -> Tensor:
        if begun is not None:
            self._write(begun)
        return self._forward(ids[:, None], mask, at[:, None], self._cache)

    def arrange(self, used: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.arange(len(used))

    def _write(self, begun: Beginnings) -> None:
        cache, width = DynamicCache(), begun.ids.shape[1]
        # A row with nothing to read beside longer ones: let it attend to one padding column.
        attended = begun.mask.clone()
        attended[:, -1] = 1
        self._forward(begun.ids, attended, positions(attended), cache)
        for layer, small in zip(self._cache.layers, cache.layers, strict=True):
            layer.keys[begun.places, :, -width:] = small.keys
            layer.values[begun.places, :, -width:] = small.values

    def select(self, places: Tensor) -> None:
        self._edit(lambda tensor: tensor[places])

    def crop(self, columns: int) -> None:
        self._edit(lambda tensor: tensor[:, :, columns:])

    def pad(self, columns: int) -> None:
        self._edit(lambda tensor: torch.nn.functional.pad(tensor, (0, 0, columns, 0)))

    def _edit(self, change: Callable[[Tensor], Tensor]) -> None:
        for layer in self._cache.layers:
            layer.keys, layer.values = change(layer.keys), change(layer.values)  # type: ignore[arg-type]

    def _forward(self, ids: Tensor, mask: Tensor, position_ids: Tensor, cache: Any) -> Tensor:
        output = self.model(
            input_ids=ids, attention_mask=mask, position_ids=position_ids, past_key_values=cache, use_cache=True,
            logits_to_keep=1,
        )  # fmt: skip
        logits: Tensor = output.logits[:, -1]
        return logits


class _TrunkCache:
    """Keys and values in tensors with room to grow: (layers, 2, R, key-value heads, room, d), the window in use last.

    Nothing is copied to append a column, and dropping leading columns moves the window. Beginnings go through the
    layers together with the tokens that are appended. Where rows differ in length, which is what refilled ones do,
    attention reads them block by block: on a CPU most of its time is the reading.
    """

    def __init__(self, model: Any, trunk: Trunk) -> None:
        self.trunk, self.head = trunk, model.get_output_embeddings()

    def start(self, ids: Tensor, mask: Tensor) -> Tensor:
        self._rows, self._first, self._end = len(ids), 0, ids.shape[1]
        self._memory: Tensor | None = None
        self._blocks: list[tuple[slice, int]] = []
        newest = torch.zeros_like(mask, dtype=torch.bool)
        newest[:, -1] = True
        packing = pack(ids, mask.bool(), newest)
        row, column = mask.nonzero(as_tuple=True)
        x = self.trunk.embed(packing.ids, packing.positions)
        rotation = self.trunk.rotation(x, packing.positions)
        for index, layer in enumerate(self.trunk.layers):
            heads = layer.heads(x, rotation)
            if self._memory is None:
                self._allocate(heads.keys)
            assert self._memory is not None
            self._memory[index, 0][row, :, column] = heads.keys.to(self._memory.dtype)
            self._memory[index, 1][row, :, column] = heads.values.to(self._memory.dtype)
            x = layer.after_attention(x, attend(heads, packing)[packing.cells])
        return self._logits(x[packing.read])

    def append(self, ids: Tensor, at: Tensor, mask: Tensor, begun: Beginnings | None = None) -> Tensor:
        self._room_for(self._end + 1)
        memory, column, rows = self._memory, self._end, len(ids)
        assert memory is not None
        packing: Packing | None = None
        if begun is not None:
            packing = pack(begun.ids, begun.mask.bool(), torch.zeros_like(begun.mask, dtype=torch.bool))
            ids, at = torch.cat([ids, packing.ids]), torch.cat([at, packing.positions])
            row, place = begun.mask.nonzero(as_tuple=True)
            row, place = begun.places[row], place + column - begun.ids.shape[1]
        self._end += 1
        self._see(mask)
        x = self.trunk.embed(ids, at)
        rotation = self.trunk.rotation(x, at)
        counted = mask.bool()[:, None, None]
        for layer, (keys, values) in zip(self.trunk.layers, memory.unbind(0), strict=True):
            heads = layer.heads(x, rotation)
            keys[:, :, column], values[:, :, column] = heads.keys[:rows], heads.values[:rows]
            if packing is not None:
                older = Heads(*(part[rows:] for part in heads))
                keys[row, :, place], values[row, :, place] = older.keys.to(keys.dtype), older.values.to(keys.dtype)
            attended = self._attend(heads.queries[:rows].to(keys.dtype), keys, values, counted)
            attended = attended.to(heads.values.dtype)
            if packing is not None:
                attended = torch.cat([attended, attend(older, packing)[packing.cells]])
            x = layer.after_attention(x, attended)
        return self._logits(x[:rows])

    def arrange(self, used: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        order, used, memory = np.arange(len(used)), used.copy(), self._memory
        assert memory is not None
        self._blocks = []
        if memory.device.type != "cpu":
            return order
        for place in np.flatnonzero(used == 0).tolist():
            # Each later block gives its longest row to the one before, and the new row joins the last.
            for start in range((place // BLOCK + 1) * BLOCK, len(used), BLOCK):
                longest = start + int(used[start : start + BLOCK].argmax())
                if used[longest] == 0:
                    continue
                columns = slice(self._end - int(used[longest]), self._end)
                memory[:, :, place, :, columns] = memory[:, :, longest, :, columns]
                swapped = [longest, place]
                order[[place, longest]], used[[place, longest]] = order[swapped], used[swapped]
                place = longest
        return order

    def select(self, places: Tensor) -> None:
        assert self._memory is not None
        self._memory, self._rows, self._blocks = self._memory[:, :, places], len(places), []

    def crop(self, columns: int) -> None:
        self._first += columns
        self._blocks = []

    def pad(self, columns: int) -> None:
        assert self._memory is not None
        if columns > self._first:
            missing = columns - self._first
            self._memory = torch.nn.functional.pad(self._memory, (0, 0, missing, 0))
            self._first, self._end = self._first + missing, self._end + missing
        self._first -= columns

    def _see(self, mask: Tensor) -> None:
        """Brings up to date which rows are read together, and how many columns of them."""
        if self._blocks:
            self._blocks = [(rows, width + 1) for rows, width in self._blocks]
        else:
            assert self._memory is not None
            column = self._memory[0, :, 0, :, 0]
            self._blocks = row_blocks(mask, column.numel() * column.element_size())

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, counted: Tensor) -> Tensor:
        """Each row's newest token over what its row holds: queries (R, heads, d) -> (R, heads · d)."""
        parts = []
        with in_float32(queries.device):
            for rows, width in self._blocks:
                columns = slice(self._end - width, self._end)
                attended = torch.nn.functional.scaled_dot_product_attention(
                    queries[rows, :, None], keys[rows, :, columns], values[rows, :, columns],
                    attn_mask=counted[rows, ..., -width:], enable_gqa=queries.shape[1] != keys.shape[1],
                )  # fmt: skip
                parts.append(attended.reshape(len(attended), -1))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _allocate(self, keys: Tensor) -> None:
        """Room for the first columns and as many again, in float32 on a CPU, as attention is there."""
        dtype = torch.float32 if keys.device.type == "cpu" else keys.dtype
        shape = (len(self.trunk.layers), 2, self._rows, keys.shape[1], 2 * self._end, keys.shape[2])
        self._memory = keys.new_zeros(shape, dtype=dtype)

    def _room_for(self, end: int) -> None:
        assert self._memory is not None
        if end > self._memory.shape[4]:
            used = self._memory[:, :, :, :, self._first : self._end]
            self._memory = torch.nn.functional.pad(used, (0, 0, 0, max(used.shape[4], 16)))
            self._first, self._end = 0, used.shape[4]

    def _logits(self, x: Tensor) -> Tensor:
        with in_float32(x.device):
            logits: Tensor = self.head(self.trunk.normed(x).to(self.head.weight.dtype))
        return logits


def row_blocks(mask: Tensor, column_bytes: int) -> list[tuple[slice, int]]:
    """Neighbouring rows that are read together, with the columns to read, counted from the last.

    Args:
        mask: (R, W), 1 = counts.
        column_bytes: of one column of one row, in one layer.
    """
    rows, width = mask.shape
    if mask.device.type != "cpu":
        return [(slice(0, rows), width)]
    used = (width - mask.argmax(dim=1)).tolist()
    blocks: list[tuple[slice, int]] = []
    for start in range(0, rows, BLOCK):
        stop = min(start + BLOCK, rows)
        longest = max(used[start:stop])
        if blocks:
            before, widest = blocks[-1]
            wider = max(widest, longest)
            unread = (wider - widest) * (before.stop - before.start) + (wider - longest) * (stop - start)
            if unread * column_bytes < WORTH_A_CALL:
                blocks[-1] = (slice(before.start, stop), wider)
                continue
        blocks.append((slice(start, stop), longest))
    return blocks
