"""Key-value caches of R rows that all append at the same column: transformers' own, and a faster one for packed trunks.

Both hold W columns per row; which of a row's columns count is the caller's mask, (R, W), 1 = counts.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache

from textrl_env.packing import attend, pack, positions
from textrl_env.precision import in_float32
from textrl_env.trunks import Trunk, trunk_of


class StepCache(Protocol):
    """What `decoding.CachedDecoder` asks of a cache."""

    def start(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Forgets everything and reads left-padded rows (R, W); logits after the newest tokens, (R, V_model)."""

    def append(self, ids: Tensor, at: Tensor, mask: Tensor) -> Tensor:
        """Reads one token a row, (R,), at positions (R,); mask (R, W + 1) counts it in. Logits (R, V_model)."""

    def rewrite(self, places: Tensor, ids: Tensor, mask: Tensor) -> None:
        """Writes left-padded beginnings (K, w) of the rows `places` (K,) into the last w columns, w at most W."""

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

    def append(self, ids: Tensor, at: Tensor, mask: Tensor) -> Tensor:
        return self._forward(ids[:, None], mask, at[:, None], self._cache)

    def rewrite(self, places: Tensor, ids: Tensor, mask: Tensor) -> None:
        cache, width = DynamicCache(), ids.shape[1]
        # A row with nothing to read beside longer ones: let it attend to one padding column.
        attended = mask.clone()
        attended[:, -1] = 1
        self._forward(ids, attended, positions(attended), cache)
        for layer, small in zip(self._cache.layers, cache.layers, strict=True):
            layer.keys[places, :, -width:] = small.keys
            layer.values[places, :, -width:] = small.values

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

    Nothing is copied to append a column, and dropping leading columns moves the window.
    """

    def __init__(self, model: Any, trunk: Trunk) -> None:
        self.trunk, self.head = trunk, model.get_output_embeddings()

    def start(self, ids: Tensor, mask: Tensor) -> Tensor:
        self._rows, self._first, self._end = len(ids), 0, ids.shape[1]
        self._memory: Tensor | None = None
        rows = torch.arange(len(ids), device=ids.device)
        return self._logits(self._read(rows, ids, mask))

    def append(self, ids: Tensor, at: Tensor, mask: Tensor) -> Tensor:
        self._room_for(self._end + 1)
        memory, column = self._memory, self._end
        assert memory is not None
        self._end += 1
        x = self.trunk.embed(ids, at)
        rotation = self.trunk.rotation(x, at)
        counted = mask.bool()[:, None, None]
        for layer, (keys, values) in zip(self.trunk.layers, memory.unbind(0), strict=True):
            heads = layer.heads(x, rotation)
            keys[:, :, column], values[:, :, column] = heads.keys, heads.values
            with in_float32(x.device):
                attended = torch.nn.functional.scaled_dot_product_attention(
                    heads.queries[:, :, None].to(keys.dtype), keys[:, :, self._first : self._end],
                    values[:, :, self._first : self._end], attn_mask=counted,
                    enable_gqa=heads.queries.shape[1] != keys.shape[1],
                )  # fmt: skip
            x = layer.after_attention(x, attended.reshape(len(x), -1).to(heads.values.dtype))
        return self._logits(x)

    def rewrite(self, places: Tensor, ids: Tensor, mask: Tensor) -> None:
        self._read(places, ids, mask)

    def select(self, places: Tensor) -> None:
        assert self._memory is not None
        self._memory, self._rows = self._memory[:, :, places], len(places)

    def crop(self, columns: int) -> None:
        self._first += columns

    def pad(self, columns: int) -> None:
        assert self._memory is not None
        if columns > self._first:
            missing = columns - self._first
            self._memory = torch.nn.functional.pad(self._memory, (0, 0, missing, 0))
            self._first, self._end = self._first + missing, self._end + missing
        self._first -= columns

    def _read(self, places: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Reads left-padded rows (K, w) into the last w columns of the rows `places`; states of the newest, (K, H)."""
        newest = torch.zeros_like(mask, dtype=torch.bool)
        newest[:, -1] = True
        packing = pack(ids, mask.bool(), newest)
        row, column = mask.nonzero(as_tuple=True)
        row, column = places[row], column + self._end - ids.shape[1]
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
        return x[packing.read]

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
