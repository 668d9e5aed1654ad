"""The log-policy of a causal LM on every prefix of an oracle's tree, each token computed once."""

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from textrl_env.errors import InputError
from textrl_env.oracle.tree import Floats, Ints, PrefixTree


@torch.inference_mode()
def prefix_logprobs(
    model: Any, prompt_ids: npt.NDArray[np.int64], tree: PrefixTree, *, vocab_size: int, batch_size: int = 256
) -> list[Floats]:
    """Computes log π(·|prompt, prefix) at each depth t, as (n_t, V) float64 in the order of `tree.prefixes`.

    A prefix is its newest token, forwarded on its parent's cache. The tree is walked depth first in batches, so that
    `horizon` caches of at most `batch_size` rows exist at a time, whatever the number of prefixes. Every cache of
    transformers that can be reordered for beam search serves: full, sliding-window and recurrent layers, and mixtures.
    A model that returns no such cache reads every prefix from its start instead.

    Args:
        model: a causal LM of transformers; put into eval mode. V of its logits are read.
        prompt_ids: (P,), P at least 1.
        tree: of the prompt's completions.
        vocab_size: V.
        batch_size: prefixes per forward; more on a GPU.

    Raises:
        InputError: the prompt has no token, or the model knows fewer than V.
    """
    if not len(prompt_ids):
        raise InputError("prompt_ids must hold at least one token: the model's first distribution follows it")
    if model.config.vocab_size < vocab_size:
        raise InputError(
            f"the model knows {model.config.vocab_size} tokens, vocab_size is {vocab_size}; "
            "use the tokenizer the model was trained with"
        )
    model.eval()
    walk = _Walk(model, prompt_ids, tree, vocab_size=vocab_size, batch_size=batch_size)
    walk.run()
    return walk.levels


class _Walk:
    """A pass over the tree that fills `levels` as it goes."""

    def __init__(self, model: Any, prompt_ids: Ints, tree: PrefixTree, *, vocab_size: int, batch_size: int) -> None:
        self._model, self._batch_size = model, batch_size
        self._device = next(model.parameters()).device
        self._prompt = prompt_ids
        self._prefixes = tree.prefixes
        # The parent's row of each prefix of the next depth: in order, so that a batch's children are neighbours.
        self._parents = [np.nonzero(~end)[0] for end in tree.ends[:-1]]
        self.levels = [np.empty((len(prefixes), vocab_size)) for prefixes in tree.prefixes]

    def run(self) -> None:
        output = self._forward(self._prompt[None])
        cache = getattr(output, "past_key_values", None)
        if hasattr(cache, "reorder_cache"):
            self._descend(0, slice(0, 1), output)
        else:
            self._recompute()

    def _descend(self, depth: int, rows: slice, output: Any) -> None:
        """Keeps the model's log-probabilities after `rows`, then visits their children."""
        self._keep(depth, rows, output)
        if depth + 1 == len(self.levels):
            return
        first, last = np.searchsorted(self._parents[depth], [rows.start, rows.stop])
        for batch in self._batches(int(first), int(last)):
            parents = torch.from_numpy(self._parents[depth][batch] - rows.start).to(self._device)
            cache = copy.deepcopy(output.past_key_values)
            cache.reorder_cache(parents)
            newest = self._prefixes[depth + 1][batch, -1:]
            self._descend(depth + 1, batch, self._forward(newest, past_key_values=cache))

    def _recompute(self) -> None:
        for depth, prefixes in enumerate(self._prefixes):
            for batch in self._batches(0, len(prefixes)):
                prompts = np.tile(self._prompt, (batch.stop - batch.start, 1))
                whole = np.concatenate([prompts, prefixes[batch]], axis=1)
                self._keep(depth, batch, self._forward(whole, use_cache=False))

    def _batches(self, first: int, last: int) -> list[slice]:
        return [slice(start, min(start + self._batch_size, last)) for start in range(first, last, self._batch_size)]

    def _forward(self, ids: Ints, **options: Any) -> Any:
        return self._model(
            input_ids=torch.from_numpy(ids).to(self._device), logits_to_keep=1, **{"use_cache": True} | options
        )

    def _keep(self, depth: int, rows: slice, output: Any) -> None:
        logits = output.logits[:, -1, : self.levels[depth].shape[1]]
        self.levels[depth][rows] = torch.log_softmax(logits.double(), dim=-1).cpu().numpy()
