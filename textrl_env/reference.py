"""The frozen policy of KL shaping, from a causal LM of transformers: a copy, or the policy with its adapters off."""

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from textrl_env.errors import InputError, require_above, require_count
from textrl_env.lm import Precision, autocast, check_fits, checked_precision, context_length, rounded_copy
from textrl_env.lm.forward import CachedDecoder, read_logits, require_causal, token_logprobs

MOST_LOGITS = 2**25
"""Numbers in the logits that are held at once, where a sequence has no more: 128 MB of float32."""


class FrozenReference:
    """A copy of a causal LM that never changes; satisfies `textrl_env.mdp.Reference`.

    Args:
        model: the policy to stay near; copied, so that it shares no storage with a policy that is trained on.
        vocab_size: V = `len(tokenizer)`; logits of padded vocabulary entries get no probability.
        temperature: of the reference distribution; the policy's sampling temperature, so that equal weights give
            KL 0.
        precision: of the linear layers; the policy's, so that equal weights give KL 0.

    Raises:
        InputError: not a causal language model, one whose vocabulary is smaller than V, or an impossible temperature.
    """

    def __init__(
        self, model: Any, *, vocab_size: int, temperature: float = 1.0, precision: Precision = "float32"
    ) -> None:
        require_causal(model, role="the reference")
        require_count(1, vocab_size=vocab_size)
        require_above(0, temperature=temperature)
        check_fits(model, vocab_size, name="the reference model")
        self.model = self._freeze(model)
        self.vocab_size = vocab_size
        self.temperature = temperature
        self.precision = checked_precision(precision)

    def _freeze(self, model: Any) -> Any:
        """The model whose distributions never change."""
        return copy.deepcopy(model).eval().requires_grad_(False)

    @property
    def context_length(self) -> int | None:
        """The most tokens that the model reads; None where nothing bounds them."""
        return context_length(self.model)

    def in_force(self) -> AbstractContextManager[None]:
        """Returns a context in which `model` is the reference; here it always is."""
        return nullcontext()

    def decoder(self) -> "FrozenReferenceDecoder":
        """Returns a decoder with a cache of its own, for one environment."""
        return FrozenReferenceDecoder(self)

    @torch.inference_mode()
    def completion_logprobs(
        self,
        input_ids: npt.NDArray[np.int64],
        attention_mask: npt.NDArray[np.int8],
        n_tokens: int,
        *,
        allowed: tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Computes log π_ref of the last `n_tokens` tokens of each left-padded row, given all tokens before them.

        (N, L), (N, L) -> (N, n_tokens), in nats; 0 for padding. `allowed`, masks (M, V) and which of them held for each
        token (N, n_tokens), leaves out tokens that could not be chosen.
        """
        device = next(self.model.parameters()).device
        ids = torch.from_numpy(np.ascontiguousarray(input_ids)).to(device)
        mask = torch.from_numpy(np.ascontiguousarray(attention_mask)).to(device, torch.bool)
        read = mask.clone()
        read[:, : -n_tokens - 1], read[:, -1] = False, False
        choices = None
        if allowed is not None:
            # The state that is read stands before its token.
            index = torch.zeros_like(ids)
            index[:, -n_tokens - 1 : -1] = torch.from_numpy(allowed[1]).to(device)
            choices = torch.from_numpy(allowed[0]).to(device), index
        logprobs = torch.zeros(ids.shape, device=device)
        logprobs[:, 1:][read[:, :-1]] = self.following_logprobs(ids, mask, read, allowed=choices)
        return logprobs[:, -n_tokens:].cpu().numpy()

    @torch.inference_mode()
    def following_logprobs(
        self, ids: Tensor, mask: Tensor, read: Tensor, *, allowed: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Computes log π_ref of the tokens that follow some tokens, in nats.

        Goes through a few sequences at a time, since the logits of all would be (R, V).

        Args:
            ids: (B, L) token ids.
            mask: (B, L) True on tokens, False on padding.
            read: (B, L) True on the R tokens whose successor is scored; see `textrl_env.lm.forward.read_logits`.
            allowed: masks (M, V), True for tokens that may be chosen, and (B, L), which of them holds for the
                successor of each token; None where all may.

        Returns:
            (R,), in the order of the rows.
        """
        rows = max(1, MOST_LOGITS // max(1, int(read.sum(dim=1).max()) * self.vocab_size))
        masks, index = (None, torch.zeros_like(ids)) if allowed is None else allowed
        parts = zip(*(torch.split(tensor, rows) for tensor in (ids, mask, read, index)), strict=True)
        return torch.cat([self._following_logprobs(*part, masks=masks) for part in parts])

    def _following_logprobs(
        self, ids: Tensor, mask: Tensor, read: Tensor, index: Tensor, *, masks: Tensor | None
    ) -> Tensor:
        with self.in_force(), autocast(self.precision, ids.device):
            logits = read_logits(self.model, ids, mask, read).logits
        if masks is not None:
            logits = logits[:, : self.vocab_size].float().masked_fill(~masks[index[read]], -torch.inf)
        return token_logprobs(
            logits, ids[:, 1:][read[:, :-1]], vocab_size=self.vocab_size, temperature=self.temperature
        )


class AdapterOffReference(FrozenReference):
    """The reference under a policy that trains adapters of peft: the policy's own model with the adapters off.

    Its weights are what training started from, so one copy serves both, where `FrozenReference` holds a second one;
    it is equal to a `FrozenReference` of the model without adapters.

    Args:
        model: a causal LM with adapters in place, whose other parameters are frozen. Shared, not copied.
        vocab_size: as for `FrozenReference`, and so are `temperature` and `precision`.

    Raises:
        InputError: no adapters, or something beside them is trained, so that the reference would change.
    """

    def _freeze(self, model: Any) -> Any:
        if not hasattr(model, "peft_config"):
            raise InputError("the model has no adapters to switch off: pass with_lora(model), or use FrozenReference")
        from peft.tuners.tuners_utils import BaseTunerLayer

        self.adapters = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
        inside = {id(value) for layer in self.adapters for value in layer.parameters()}
        beside = [name for name, value in model.named_parameters() if value.requires_grad and id(value) not in inside]
        weights = [layer.get_base_layer().weight for layer in self.adapters]
        if beside or any(weight.requires_grad for weight in weights):
            name = (beside or ["an adapted weight"])[0]
            raise InputError(f"with adapters off the model would still change: {name} is trained; use FrozenReference")
        return model

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Returns a context in which the model's adapters are off."""
        for layer in self.adapters:
            layer.enable_adapters(False)
        try:
            yield
        finally:
            for layer in self.adapters:
                layer.enable_adapters(True)


class FrozenReferenceDecoder:
    """A `textrl_env.mdp.kl.ReferenceDecoder` over a `FrozenReference`."""

    def __init__(self, reference: FrozenReference) -> None:
        self._reference = reference
        self._device = next(reference.model.parameters()).device
        rounds = reference.precision == "bfloat16"
        with reference.in_force():  # In which a rounded copy stays.
            self._decoder = CachedDecoder(rounded_copy(reference.model) if rounds else reference.model)

    def next_logprobs(
        self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int8], live: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        """Computes log π_ref(·|s) of every live row, in nats: (N, L), (N, L), (N,) -> (N, V)."""
        reference = self._reference
        with reference.in_force(), autocast(reference.precision, self._device):
            logits = self._decoder.next_logits(input_ids, attention_mask, live)
        logits = logits[..., : reference.vocab_size].float() / reference.temperature
        logprobs: npt.NDArray[np.float32] = torch.log_softmax(logits, dim=-1).cpu().numpy()
        return logprobs
