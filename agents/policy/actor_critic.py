"""The actor-critic language model: it acts token by token, evaluates rollouts, and is saved and loaded."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from textrl_env.agents.policy.networks import (
    ActorCriticNetworks,
    CriticKind,
    TokenEvaluation,
    check_logits,
    compute_entropies,
    draw,
)
from textrl_env.agents.policy.parameters import load_critic, load_networks, load_policy, save_networks
from textrl_env.agents.rollout import Rollout
from textrl_env.lm import Precision, as_device, autocast, rounded_copy
from textrl_env.lm.forward import CachedDecoder, token_logprobs

Array = npt.NDArray[Any]


class ActorCriticLM(ActorCriticNetworks):
    """A causal LM that acts token by token from a key-value cache, with a value for every state.

    Sampling and scoring use one distribution: the first `vocab_size` logits, divided by the temperature, with the
    environment's action masks. The arguments are those of `ActorCriticNetworks`: `policy`, a causal LM of transformers,
    `vocab_size`, and the options `critic`, `temperature`, `precision` and `gradient_checkpointing`.
    """

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        vocab_size: int | None = None,
        critic: CriticKind = "separate",
        temperature: float = 1.0,
        precision: Precision = "float32",
        gradient_checkpointing: bool = False,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "auto",
    ) -> "ActorCriticLM":
        """Loads a causal LM's folder, or a folder that `save_pretrained` wrote (then with its critic).

        Args:
            path: the folder.
            vocab_size: None takes the model's own; pass `len(tokenizer)` where the model's is padded.
            critic: as for the class.
            temperature: as for the class.
            precision: as for the class.
            gradient_checkpointing: as for the class.
            dtype: of the parameters.
            device: `"auto"` is the GPU where there is one, else the CPU; environment, reference and rollouts follow.

        Raises:
            InputError: no model there, or an impossible option.
        """
        policy = load_policy(Path(path), dtype=dtype).to(as_device(device))
        agent = cls(
            policy,
            vocab_size=vocab_size or policy.config.get_text_config().vocab_size,
            critic=critic,
            temperature=temperature,
            precision=precision,
            gradient_checkpointing=gradient_checkpointing,
        )
        load_critic(agent, Path(path))
        return agent

    def save_pretrained(self, path: str | Path) -> None:
        """Writes `policy/` (loads with `AutoModelForCausalLM`) and `critic/` (its head, and its trunk if any).

        With adapters both hold merged weights, and the adapters beside them in `adapter/`, as peft writes them.
        """
        save_networks(self, Path(path))

    def load_pretrained(self, path: str | Path) -> None:
        """Takes the parameters that `save_pretrained` wrote into this model, bit for bit; adapters into adapters."""
        load_networks(self, Path(path))
        self.parameters_changed()

    def whole(self) -> "ActorCriticLM":
        """Returns itself; where it is sharded over processes, a copy that is not, which all of them must ask for."""
        return self if self.skeleton is None else self.skeleton.fill(self)  # type: ignore[no-any-return]

    @cached_property
    def generator(self) -> torch.Generator:
        """The generator that tokens are sampled with, on the policy's device."""
        return torch.Generator(self.device)

    @cached_property
    def decoder(self) -> CachedDecoder:
        """Next-token logits of the policy as its parameters are."""
        policy = self.whole_policy()
        # A rollout's steps are many and small: in bfloat16 the weights are rounded once, not at every step.
        return CachedDecoder(rounded_copy(policy) if self.precision == "bfloat16" else policy)

    def parameters_changed(self) -> None:
        """Drops cached keys and values of the old parameters; to be called after an update."""
        self.__dict__.pop("decoder", None)

    def _apply(self, fn: Any, recurse: bool = True) -> "ActorCriticLM":
        """Moves the model, as `to` and `cuda` ask: the generator starts anew from its seed, the cache is dropped."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.generator.device != self.device:
            self.generator = torch.Generator(self.device).manual_seed(self.generator.initial_seed())
        self.parameters_changed()
        return self

    @torch.inference_mode()
    def act(
        self,
        observation: dict[str, Array],
        *,
        live: npt.NDArray[np.bool_] | None = None,
        action_masks: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Chooses a token for every row of a batch of observations.

        Args:
            observation: `input_ids` and `attention_mask`, (N, L), left-padded.
            live: (N,), rows to choose for; None means all. Other rows get token 0.
            action_masks: (N, V), True where a token may be chosen.
            deterministic: the likeliest token instead of a sampled one.

        Returns:
            tokens (N,) and their log-probabilities (N,).

        Raises:
            InputError: the model's logits are NaN or Inf.
        """
        ids, mask = observation["input_ids"], observation["attention_mask"]
        live = np.ones(len(ids), dtype=np.bool_) if live is None else live
        with autocast(self.precision, self.device):
            logits = self.decoder.next_logits(ids, mask, live)
        check_logits(logits, live, role="the policy")
        choices = None if action_masks is None else torch.from_numpy(action_masks).to(logits.device)
        logprobs = self.distribution(logits, choices)
        tokens = logprobs.argmax(dim=-1) if deterministic else draw(logprobs.exp(), self.generator)
        chosen = logprobs.gather(-1, tokens[:, None]).squeeze(-1)
        return (
            np.where(live, tokens.cpu().numpy(), 0),
            np.where(live, chosen.float().cpu().numpy(), 0.0).astype(np.float32),
        )

    def evaluate(self, batch: Rollout, *, entropies: bool = True) -> TokenEvaluation:
        """Evaluates a rollout's tokens and states under the present parameters, with gradients.

        Args:
            batch: B episodes.
            entropies: compute them too, which takes the whole distribution of every token.
        """
        logits, values = self.states(*batch.states())
        mask = batch.completion_mask
        tokens = batch.completion_ids[mask]
        entropy = None
        if entropies or batch.action_masks is not None:
            distribution = self.distribution(logits, None if batch.action_masks is None else batch.action_masks[mask])
            chosen = distribution.gather(-1, tokens[:, None]).squeeze(-1)
            entropy = batch.place(compute_entropies(distribution)) if entropies else None
        else:
            chosen = token_logprobs(logits, tokens, vocab_size=self.vocab_size, temperature=self.temperature)
        return TokenEvaluation(batch.place(chosen), entropy, None if values is None else batch.place(values))

    @torch.no_grad()
    def values(self, batch: Rollout, *, after: bool = False) -> Tensor:
        """Computes values of the states before each token, (B, C).

        Args:
            batch: B episodes.
            after: add the state after the last token: (B, C + 1).
        """
        ids, mask, is_state = batch.states(after=after)
        values = self.state_values(ids, mask, is_state)
        # Left-padded as prompts are, the states stand in the columns from the prompt's newest token on.
        places = is_state[:, batch.prompt_ids.shape[1] - 1 : None if after else -1]
        return values.new_zeros(places.shape).masked_scatter(places, values)
