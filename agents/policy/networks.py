"""The networks of an actor-critic language model, and the distribution of the next token that they give."""

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from textrl_env.errors import InputError, require_above
from textrl_env.lm import Precision, autocast, check_fits, checked_precision
from textrl_env.lm.adapters import trunk_copy, unwrap
from textrl_env.lm.forward import read_logits, read_states, require_causal
from textrl_env.training.distributed import Skeleton


class TokenEvaluation(NamedTuple):
    """A rollout's tokens under the present parameters: (B, C) each with gradients, junk where the mask is False.

    Attributes:
        logprobs: of the tokens.
        entropies: of the distributions they were drawn from, in nats, or None where not asked for.
        values: of the states before them, or None without a critic.
    """

    logprobs: Tensor
    entropies: Tensor | None
    values: Tensor | None


def next_token_logprobs(logits: Tensor, mask: Tensor | None, *, vocab_size: int, temperature: float) -> Tensor:
    """Computes the log-probabilities that tokens are sampled and scored with.

    Args:
        logits: (..., V_model), of which the first `vocab_size` count.
        mask: (..., V), True where a token may be chosen, or None where all may.
        vocab_size: V.
        temperature: divides the logits.

    Returns:
        (..., V), float32.
    """
    logits = logits[..., :vocab_size].float() / temperature
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    return torch.log_softmax(logits, dim=-1)


def draw(probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """Draws one index from each row of probabilities, (N, V) -> (N,), by inverse transform sampling.

    `torch.multinomial` draws V random numbers a row where one will do, and took 14 to 27 times as long for 64 rows of
    256 to 2048 tokens on a CPU. The sums are float64, so that 50,000 tokens leave no rounding to the last ones; an
    index of probability 0 is never drawn.
    """
    sums = probabilities.cumsum(dim=-1, dtype=torch.float64)
    uniform = torch.rand(len(sums), 1, generator=generator, dtype=torch.float64, device=sums.device)
    # In (0, 1] of the whole: the first sum that reaches it belongs to an index whose probability made it grow.
    return torch.searchsorted(sums, (1 - uniform) * sums[:, -1:]).squeeze(-1)


def check_logits(logits: Tensor, live: npt.NDArray[np.bool_], *, role: str) -> None:
    """Raises InputError where nothing can be drawn: logits (N, V) of NaN or Inf in a row marked in (N,)."""
    if not logits.amax(dim=-1).isfinite().cpu().numpy()[live].all():
        raise InputError(f"{role}'s logits are NaN or Inf, so that no token can be drawn; look at its weights")


def compute_entropies(logprobs: Tensor) -> Tensor:
    """Computes the entropies of distributions in nats: (..., V) -> (...)."""
    # 0 · -inf of a forbidden token is NaN; its share of the entropy is 0.
    return -(logprobs.exp() * logprobs.clamp_min(torch.finfo(logprobs.dtype).min)).sum(dim=-1)


CriticKind = Literal["separate", "shared", "none"]


class ActorCriticNetworks(nn.Module):
    """A policy and a critic, which give next-token logits and values for the states of token sequences.

    Dropout is off at all times, so that the first update of a rollout has ratio 1.

    Args:
        policy: a causal LM of transformers. With adapters (`with_lora`, a `peft.PeftModel`) they and the value head are
            what is trained.
        vocab_size: V = `len(tokenizer)`; ids from there on are never sampled.
        critic: `"separate"`: a trunk of its own, initialised from the policy's (with adapters: adapters of its own on
            the same frozen weights). `"shared"`: a head on the policy's trunk, which halves the work and couples the
            two. `"none"`: for algorithms that learn without one.
        temperature: of sampling and scoring, above 0.
        precision: of the linear layers, `"float32"` or `"bfloat16"` (see `textrl_env.lm`).
        gradient_checkpointing: updates keep one state per token and layer instead of all activations, and compute the
            rest twice; the gradients are the same.

    Attributes:
        critic_trunk: the critic's own trunk, or None.
        value_head: from a state to its value, or None without a critic.
        skeleton: the modules without parameters, where the model is sharded over processes; else None.

    Raises:
        InputError: an impossible option, named.
    """

    def __init__(
        self,
        policy: Any,
        *,
        vocab_size: int,
        critic: CriticKind = "separate",
        temperature: float = 1.0,
        precision: Precision = "float32",
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if critic not in get_args(CriticKind):
            raise InputError(f"critic must be 'separate', 'shared' or 'none', got {critic!r}")
        require_above(0, temperature=temperature)
        policy = unwrap(policy)
        require_causal(policy, role="the policy")
        check_fits(policy, vocab_size, name="the policy")
        self.policy = policy
        self.vocab_size = vocab_size
        self.temperature = temperature
        self.precision = checked_precision(precision)
        self.gradient_checkpointing = gradient_checkpointing
        self.critic_kind: CriticKind = critic
        self.critic_trunk = trunk_copy(policy) if critic == "separate" else None
        self.value_head = None if critic == "none" else _zero_head(policy)
        self.skeleton: Skeleton | None = None
        self.eval()

    @property
    def device(self) -> torch.device:
        """The device of the policy's parameters."""
        device: torch.device = next(self.policy.parameters()).device
        return device

    def train(self, mode: bool = True) -> "ActorCriticNetworks":
        """Stays in eval mode: with dropout on, the update would score another distribution than was sampled from."""
        super().train(False)
        return self

    def states(self, ids: Tensor, mask: Tensor, is_state: Tensor) -> tuple[Tensor, Tensor | None]:
        """Computes next-token logits and values after some tokens of padded sequences, with gradients.

        Args:
            ids: (B, L).
            mask: (B, L), True on each sequence's tokens, which stand side by side.
            is_state: (B, L), True on the tokens whose states are wanted, R in all.

        Returns:
            logits (R, V_model), and values (R,) or None without a critic.
        """
        with autocast(self.precision, self.device):
            logits, hidden = read_logits(
                self.policy,
                ids,
                mask,
                is_state,
                with_states=self.critic_kind == "shared",
                recompute=self.gradient_checkpointing,
            )
        if self.critic_trunk is not None:
            return logits, self.state_values(ids, mask, is_state)
        return logits, None if hidden is None else self._values_of(hidden)

    def state_values(self, ids: Tensor, mask: Tensor, is_state: Tensor) -> Tensor:
        """Computes the values of `states` alone, (R,), with gradients."""
        trunk = self.policy.base_model if self.critic_trunk is None else self.critic_trunk
        with autocast(self.precision, self.device):
            hidden = read_states(trunk, ids, mask, is_state, recompute=self.gradient_checkpointing)
        return self._values_of(hidden)

    def distribution(self, logits: Tensor, mask: Tensor | None) -> Tensor:
        """Computes log-probabilities of the next token: logits (..., V_model), mask (..., V) or None -> (..., V)."""
        return next_token_logprobs(logits, mask, vocab_size=self.vocab_size, temperature=self.temperature)

    def whole_policy(self) -> Any:
        """Returns the policy; where it is sharded over processes a copy that is not, which all of them must ask for."""
        return self.policy if self.skeleton is None else self.skeleton.fill(self, "policy")

    @property
    def _no_split_modules(self) -> list[str]:
        """Classes of the layers whose parameters accelerate gathers one by one."""
        return list(self.policy._no_split_modules)

    def _values_of(self, hidden: Tensor) -> Tensor:
        assert self.value_head is not None
        values: Tensor = self.value_head(hidden.to(self.value_head.weight.dtype)).squeeze(-1)
        return values.float()


def _zero_head(policy: Any) -> nn.Linear:
    """Makes a linear head that says 0 until it is trained."""
    # As wide as what predicts tokens, which some projections make narrower than the layers (OPT).
    head = nn.Linear(policy.get_output_embeddings().weight.shape[-1], 1, device=policy.device)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head
