"""The frozen policy of KL shaping, from a causal LM of transformers."""

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from textrl_env.errors import InputError
from textrl_env.lm import Precision, autocast, checked_precision, rounded_copy
from textrl_env.lm.forward import CachedDecoder, read_logits, token_logprobs

MOST_LOGITS = 2**25
"""Numbers in the logits that are held at once, where a sequence has no more: 128 MB of float32."""


class FrozenReference:
    """A copy of a causal LM that never changes; satisfies `textrl_env.mdp.kl.Reference`.

    Args:
        model: the policy to stay near; copied, so that it shares no storage with a policy that is trained on.
        vocab_size: V = `len(tokenizer)`; logits of padded vocabulary entries get no probability.
        temperature: of the reference distribution; the policy's sampling temperature, so that equal weights give
            KL 0.
        precision: of the linear layers; the policy's, so that equal weights give KL 0.

    Raises:
        InputError: the model's vocabulary is smaller than V.
    """

    def __init__(
        self, model: Any, *, vocab_size: int, temperature: float = 1.0, precision: Precision = "float32"
    ) -> None:
        if model.config.vocab_size < vocab_size:
            raise InputError(
                f"the reference model knows {model.config.vocab_size} tokens, the tokenizer has {vocab_size}; "
                "use the tokenizer the model was trained with"
            )
        self.model = self._fixed(model)
        self.vocab_size = vocab_size
        self.temperature = temperature
        self.precision = checked_precision(precision)

    def _fixed(self, model: Any) -> Any:
        """What never changes; here a copy."""
        return copy.deepcopy(model).eval().requires_grad_(False)

    def in_force(self) -> AbstractContextManager[None]:
        """Within, `model` is the reference; here it always is."""
        return nullcontext()

    def decoder(self) -> "FrozenReferenceDecoder":
        """A decoder with a cache of its own."""
        return FrozenReferenceDecoder(self)

    @torch.inference_mode()
    def completion_logprobs(
        self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int8], n_tokens: int
    ) -> npt.NDArray[np.float32]:
        """Log π_ref of the last `n_tokens` tokens of each left-padded row: (N, L) -> (N, n_tokens); 0 for padding."""
        device = next(self.model.parameters()).device
        ids = torch.from_numpy(np.ascontiguousarray(input_ids)).to(device)
        mask = torch.from_numpy(np.ascontiguousarray(attention_mask)).to(device, torch.bool)
        read = mask.clone()
        read[:, : -n_tokens - 1], read[:, -1] = False, False
        out = torch.zeros(ids.shape, device=device)
        out[:, 1:][read[:, :-1]] = self.following_logprobs(ids, mask, read)
        return out[:, -n_tokens:].cpu().numpy()

    @torch.inference_mode()
    def following_logprobs(self, ids: torch.Tensor, mask: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
        """Log π_ref of the tokens that stand after those marked in `read`, (R,); see `scoring.read_logits`.

        Goes through a few sequences at a time, since the logits of all would be (R, V).
        """
        rows = max(1, MOST_LOGITS // max(1, int(read.sum(dim=1).max()) * self.vocab_size))
        parts = zip(*(torch.split(each, rows) for each in (ids, mask, read)), strict=True)
        return torch.cat([self._following(*part) for part in parts])

    def _following(self, ids: torch.Tensor, mask: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
        with self.in_force(), autocast(self.precision, ids.device):
            logits = read_logits(self.model, ids, mask, read).logits
        return token_logprobs(
            logits, ids[:, 1:][read[:, :-1]], vocab_size=self.vocab_size, temperature=self.temperature
        )

    def _distribution(self, logits: torch.Tensor) -> torch.Tensor:
        return torch.log_softmax(logits[..., : self.vocab_size].float() / self.temperature, dim=-1)


class FrozenReferenceDecoder:
    """`textrl_env.mdp.kl.ReferenceDecoder` over a `FrozenReference`."""

    def __init__(self, reference: FrozenReference) -> None:
        self._reference = reference
        self._device = next(reference.model.parameters()).device
        rounded = reference.precision == "bfloat16"
        with reference.in_force():  # In which a rounded copy stays.
            self._decoder = CachedDecoder(rounded_copy(reference.model) if rounded else reference.model)

    def next_logprobs(
        self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int8], live: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        """Log π_ref(·|s) of every live row: (N, L) -> (N, V)."""
        with self._reference.in_force(), autocast(self._reference.precision, self._device):
            logits = self._decoder.next_logits(input_ids, attention_mask, live)
        out: npt.NDArray[np.float32] = self._reference._distribution(logits).cpu().numpy()
        return out
