"""Next-token logits of a causal LM for rows that grow by a token at a time, from a key-value cache.

All rows append at the same cache column. A row that starts anew (a refilled slot) sends its prompt along with the
others' newest tokens, and its keys and values go into the columns just before the current one; each row has its own
mask and positions, and leading columns that no row needs are cut off.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from textrl_env.lm.forward.caches import Beginnings
from textrl_env.lm.forward.suitability import require_causal
from textrl_env.lm.forward.trunk_cache import cache_for

Array = npt.NDArray[Any]


class CachedDecoder:
    """A decoder whose caching is transparent: the observations decide what is computed.

    Its logits are those of an uncached forward.

    A row whose observation is the previous one with a token appended continues from the cache; every other row is
    computed from its prompt.

    Args:
        model: a causal LM of transformers; called in eval mode as it stands, its parameters are read at every call.

    Raises:
        InputError: not a causal language model.
    """

    def __init__(self, model: Any) -> None:
        require_causal(model, role="the model")
        self.model = model
        self.reset()

    def reset(self) -> None:
        """Forgets the cache; to be called when the model's parameters change."""
        self._cache = cache_for(self.model)
        self._rows: Array = np.empty(0, dtype=np.int64)
        self._last_ids: Array = np.empty((0, 0), dtype=np.int64)
        self._last_lengths: Array = np.empty(0, dtype=np.int64)
        self._mask: Tensor = torch.empty(0, 0, dtype=torch.long)
        self._device = torch.device("cpu")

    @property
    def width(self) -> int:
        """Columns of the cache."""
        return self._mask.shape[1]

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self.model}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["model"])  # type: ignore[misc]

    @torch.inference_mode()
    def next_logits(self, input_ids: Array, attention_mask: Array, live: npt.NDArray[np.bool_]) -> Tensor:
        """Computes logits of the next token.

        Args:
            input_ids: (N, L), left-padded.
            attention_mask: (N, L), 1 on the tokens.
            live: (N,), True on the rows that are read.

        Returns:
            (N, V_model), zero where not live.
        """
        if not live.any():
            return torch.zeros(len(live), self.model.config.get_text_config().vocab_size, device=self._device)
        try:
            return self._next_logits(input_ids, attention_mask, live)
        except BaseException:
            self.reset()  # An interrupt may have left the cache with half a step.
            raise

    def _next_logits(self, input_ids: Array, attention_mask: Array, live: npt.NDArray[np.bool_]) -> Tensor:
        lengths = attention_mask.sum(axis=1).astype(np.int64)
        continuing = live & self._continuing(input_ids, lengths)
        if not continuing.any() or not self._holds(live):
            logits = self._start(input_ids, lengths, np.flatnonzero(live))
        else:
            # While every row goes on, which is most of the time, there is nothing to drop and nothing to refill.
            beginnings = None
            if not continuing.all():
                self._compact(live, continuing)
                beginnings = self._refill(input_ids, lengths, live & ~continuing)
            logits = self._append(input_ids[self._rows, -1], lengths[self._rows] - 1, beginnings)
        # A cached row that is not live was fed a token of no meaning: it cannot continue.
        self._last_ids, self._last_lengths = input_ids, np.where(live, lengths, -1)
        if np.array_equal(self._rows, np.arange(len(live))):
            return logits
        out = logits.new_zeros(len(live), logits.shape[-1])
        out[torch.from_numpy(self._rows)] = logits
        return out

    def _holds(self, live: npt.NDArray[np.bool_]) -> bool:
        """Says whether every live row is in the cache."""
        in_cache = np.zeros_like(live)
        in_cache[self._rows] = True
        return not (live & ~in_cache).any()

    def _continuing(self, input_ids: Array, lengths: Array) -> npt.NDArray[np.bool_]:
        """Finds the rows whose observation is the last one with a token appended, (N,)."""
        if self._last_ids.shape != input_ids.shape:
            return np.zeros(len(lengths), dtype=np.bool_)
        # A row may have slid past the window: the oldest column then holds a token that the cache no longer explains.
        suffix = (input_ids[:, :-1] == self._last_ids[:, 1:]).all(axis=1)
        continuing: npt.NDArray[np.bool_] = suffix & (lengths == self._last_lengths + 1)
        return continuing

    def _start(self, input_ids: Array, lengths: Array, rows: Array) -> Tensor:
        """Makes a new cache from the whole observations of `rows`."""
        self._device = next(self.model.parameters()).device
        width = int(lengths[rows].max())
        ids = torch.from_numpy(np.ascontiguousarray(input_ids[rows, -width:])).to(self._device)
        self._mask = left_padded_mask(lengths[rows], width).to(self._device)
        self._rows = rows
        return self._cache.start(ids, self._mask)

    def _append(self, tokens: Array, at: Array, beginnings: Beginnings | None) -> Tensor:
        """Appends one token to every cached row: tokens (R,), their positions (R,) -> logits (R, V)."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)
        device = self._device
        ids, positions = torch.from_numpy(tokens).to(device), torch.from_numpy(at).to(device)
        return self._cache.append(ids, positions, self._mask, beginnings)

    def _compact(self, live: npt.NDArray[np.bool_], continuing: npt.NDArray[np.bool_]) -> None:
        """Drops rows that are not live once they are half of the cache, and leading columns no row goes on reading."""
        keep = np.flatnonzero(live[self._rows])
        if 2 * len(keep) <= len(self._rows):
            places = torch.from_numpy(keep).to(self._device)
            self._rows, self._mask = self._rows[keep], self._mask[places]
            self._cache.select(places)
        # A row that idles is fed on with the others: were its columns kept, the cache would widen as long.
        reading = torch.from_numpy(np.flatnonzero(continuing[self._rows])).to(self._device)
        unread = int(self._mask[reading].any(dim=0).int().argmax().item())
        if unread > 0:
            self._mask = self._mask[:, unread:]
            self._cache.crop(unread)

    def _refill(self, input_ids: Array, lengths: Array, fresh: npt.NDArray[np.bool_]) -> Beginnings | None:
        """Takes the prompts of fresh rows, all but their newest token, for the columns before the current one."""
        if not fresh[self._rows].any():
            return None
        order = self._cache.arrange(np.where(fresh, 0, lengths - 1)[self._rows].clip(max=self.width))
        self._rows, self._mask = self._rows[order], self._mask[torch.from_numpy(order).to(self._device)]
        fresh_places = np.flatnonzero(fresh[self._rows])
        rows, places = self._rows[fresh_places], torch.from_numpy(fresh_places).to(self._device)
        self._mask[places] = 0
        width = int(lengths[rows].max()) - 1
        if width == 0:
            return None
        missing = width - self._mask.shape[1]
        if missing > 0:
            self._mask = torch.nn.functional.pad(self._mask, (missing, 0))
            self._cache.pad(missing)
        ids = torch.from_numpy(np.ascontiguousarray(input_ids[rows, -width - 1 : -1])).to(self._device)
        mask = left_padded_mask(lengths[rows] - 1, width).to(self._device)
        self._mask[places, -width:] = mask
        return Beginnings(places, ids, mask)


def left_padded_mask(lengths: Array, width: int) -> Tensor:
    """Makes a mask, (R,) lengths -> (R, width) long, 1 on the last `length` columns of each row."""
    return torch.from_numpy((np.arange(width)[None] >= width - lengths[:, None]).astype(np.int64))
