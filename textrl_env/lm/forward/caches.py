"""Key-value caches of R rows that all append at the same column.

A cache holds W columns per row; the caller's mask, (R, W), says which of a row's columns count (1).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import DynamicCache

from textrl_env.lm.forward.packing import positions, read_logits
from textrl_env.lm.forward.suitability import call_model


@dataclass(frozen=True)
class Beginnings:
    """Left-padded beginnings of rows that start anew, all but their newest tokens.

    Attributes:
        places: (K,), the rows.
        ids: (K, w), w at most the cache's width.
        mask: (K, w), 1 on the tokens.
    """

    places: Tensor
    ids: Tensor
    mask: Tensor


class StepCache(Protocol):
    """The interface of a cache to `decoding.CachedDecoder`."""

    def start(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Forgets everything and reads left-padded rows (R, W); returns logits after the newest tokens, (R, V_model).

        Args:
            ids: (R, W).
            mask: (R, W), 1 = counts.
        """

    def append(self, ids: Tensor, at: Tensor, mask: Tensor, beginnings: Beginnings | None = None) -> Tensor:
        """Reads one token a row; returns logits after it, (R, V_model).

        Args:
            ids: (R,).
            at: (R,), the tokens' positions.
            mask: (R, W + 1), which counts the token in.
            beginnings: written into the last columns before that token's.
        """

    def arrange(self, lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Moves rows to where they are read fastest.

        Args:
            lengths: (R,), columns that each row uses; 0 where a row starts anew.

        Returns:
            (R,), the row that stands at each place now.
        """

    def select(self, places: Tensor) -> None:
        """Keeps some rows, in this order."""

    def crop(self, columns: int) -> None:
        """Drops leading columns."""

    def pad(self, columns: int) -> None:
        """Adds leading columns, which no mask counts."""


class StockCache:
    """A `StepCache` of causal LMs that attend: transformers' `DynamicCache`, edited from outside.

    Keys and values of a layer are (R, key-value heads, W, d).
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    def start(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Forgets everything and reads left-padded rows."""
        self._cache = DynamicCache()
        return self._forward(ids, mask, positions(mask), self._cache)

    def append(self, ids: Tensor, at: Tensor, mask: Tensor, beginnings: Beginnings | None = None) -> Tensor:
        """Reads one token a row."""
        if beginnings is not None:
            self._write(beginnings)
        return self._forward(ids[:, None], mask, at[:, None], self._cache)

    def arrange(self, lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Leaves every row in its place: all columns are read anyway."""
        return np.arange(len(lengths))

    def _write(self, beginnings: Beginnings) -> None:
        cache, width = DynamicCache(), beginnings.ids.shape[1]
        # A row with nothing to read beside longer ones: let it attend to one padding column.
        mask = beginnings.mask.clone()
        mask[:, -1] = 1
        self._forward(beginnings.ids, mask, positions(mask), cache)
        for layer, small in zip(self._cache.layers, cache.layers, strict=True):
            layer.keys[beginnings.places, :, -width:] = small.keys
            layer.values[beginnings.places, :, -width:] = small.values

    def select(self, places: Tensor) -> None:
        """Keeps some rows, in this order."""
        self._edit(lambda tensor: tensor[places])

    def crop(self, columns: int) -> None:
        """Drops leading columns."""
        self._edit(lambda tensor: tensor[:, :, columns:])

    def pad(self, columns: int) -> None:
        """Adds leading columns."""
        self._edit(lambda tensor: torch.nn.functional.pad(tensor, (0, 0, columns, 0)))

    def _edit(self, change: Callable[[Tensor], Tensor]) -> None:
        for layer in self._cache.layers:
            layer.keys, layer.values = change(layer.keys), change(layer.values)  # type: ignore[arg-type]

    def _forward(self, ids: Tensor, mask: Tensor, position_ids: Tensor, cache: Any) -> Tensor:
        output = call_model(
            self.model,
            input_ids=ids,
            attention_mask=mask,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[:, -1]
        return logits


class TokenCache:
    """A `StepCache` of any causal LM: it holds tokens alone, and every step reads all of them.

    For models whose own cache is a recurrent state, which cannot be cut or padded; a step costs what its whole text
    does.
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    def start(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Forgets everything and reads left-padded rows."""
        self._ids = ids
        return self._forward(mask)

    def append(self, ids: Tensor, at: Tensor, mask: Tensor, beginnings: Beginnings | None = None) -> Tensor:
        """Reads every row with one token more."""
        if beginnings is not None:
            self._ids[beginnings.places, -beginnings.ids.shape[1] :] = beginnings.ids
        self._ids = torch.cat([self._ids, ids[:, None]], dim=1)
        return self._forward(mask)

    def arrange(self, lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Leaves every row in its place."""
        return np.arange(len(lengths))

    def select(self, places: Tensor) -> None:
        """Keeps some rows, in this order."""
        self._ids = self._ids[places]

    def crop(self, columns: int) -> None:
        """Drops leading columns."""
        self._ids = self._ids[:, columns:]

    def pad(self, columns: int) -> None:
        """Adds leading columns."""
        self._ids = torch.nn.functional.pad(self._ids, (columns, 0))

    def _forward(self, mask: Tensor) -> Tensor:
        newest = torch.zeros_like(mask, dtype=torch.bool)
        newest[:, -1] = True
        return read_logits(self.model, self._ids, mask.bool(), newest).logits
