"""The actor-critic language model: any causal LM as the policy, and a critic over the same tokens."""

import copy
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForCausalLM

from textrl_env import InputError
from textrl_env.agents.rollout import Rollout
from textrl_env.decoding import CachedDecoder, positions
from textrl_env.errors import require_above

Array = npt.NDArray[Any]
CriticKind = Literal["separate", "shared", "none"]


class Evaluated(NamedTuple):
    """A rollout's tokens under the present parameters: (B, C) each with gradients, junk where the mask is False.

    Attributes:
        logprobs: of the tokens.
        entropies: of the distributions they were drawn from, in nats, or None where not asked for.
        values: of the states before them, or None without a critic.
    """

    logprobs: Tensor
    entropies: Tensor | None
    values: Tensor | None


class ActorCriticLM(nn.Module):
    """A causal LM that acts token by token from a key-value cache, with a value for every state.

    Sampling and scoring use one distribution: the first `vocab_size` logits, divided by the temperature, with the
    environment's action masks. Dropout is off at all times, so that the first update of a rollout has ratio 1.

    Args:
        policy: a causal LM of transformers.
        vocab_size: V = `len(tokenizer)`; ids from there on are never sampled.
        critic: `"separate"`: a trunk of its own, initialised from the policy's. `"shared"`: a head on the policy's
            trunk, which halves the work and couples the two. `"none"`: for algorithms that learn without one.
        temperature: of sampling and scoring, above 0.
    """

    def __init__(
        self, policy: Any, *, vocab_size: int, critic: CriticKind = "separate", temperature: float = 1.0
    ) -> None:
        super().__init__()
        if critic not in get_args(CriticKind):
            raise InputError(f"critic must be 'separate', 'shared' or 'none', got {critic!r}")
        require_above(0, temperature=temperature)
        if policy.config.vocab_size < vocab_size:
            raise InputError(
                f"the policy knows {policy.config.vocab_size} tokens, the tokenizer has {vocab_size}; "
                "use the tokenizer the model was trained with"
            )
        self.policy = policy
        self.vocab_size = vocab_size
        self.temperature = temperature
        self.critic_kind: CriticKind = critic
        self.critic_trunk = copy.deepcopy(policy.base_model) if critic == "separate" else None
        self.value_head = None if critic == "none" else _zero_head(policy.config.get_text_config().hidden_size)
        self.eval()
        self._decoder = CachedDecoder(self.policy)
        self.generator = torch.Generator(device=self.device)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        vocab_size: int | None = None,
        critic: CriticKind = "separate",
        temperature: float = 1.0,
        dtype: torch.dtype = torch.float32,
    ) -> "ActorCriticLM":
        """From a causal LM's folder, or from a folder that `save_pretrained` wrote (then with its critic).

        `vocab_size` None takes the model's own; pass `len(tokenizer)` where the model's is padded.
        """
        path = Path(path)
        folder = path / "policy" if (path / "policy").is_dir() else path
        if not (folder / "config.json").is_file():
            raise InputError(f"{path}: no model here (no config.json); expected a folder that save_pretrained wrote")
        policy = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        agent = cls(policy, vocab_size=vocab_size or policy.config.vocab_size, critic=critic, temperature=temperature)
        if (path / "critic").is_dir():
            agent._load_critic(path / "critic")
        return agent

    def save_pretrained(self, path: str | Path) -> None:
        """Writes `policy/` (loads with `AutoModelForCausalLM`) and `critic/` (its head, and its trunk if any)."""
        path = Path(path)
        self.policy.save_pretrained(path / "policy")
        if self.value_head is None:
            return
        (path / "critic").mkdir(parents=True, exist_ok=True)
        if self.critic_trunk is not None:
            self.critic_trunk.save_pretrained(path / "critic")
        head = {name: value.detach().contiguous() for name, value in self.value_head.state_dict().items()}
        save_file(head, path / "critic" / "value_head.safetensors")

    def _load_critic(self, path: Path) -> None:
        if self.critic_trunk is not None:
            dtype = next(self.policy.parameters()).dtype
            self.critic_trunk = AutoModel.from_pretrained(path, dtype=dtype).eval()
        if self.value_head is not None:
            self.value_head.load_state_dict(load_file(path / "value_head.safetensors"))

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self.policy.parameters()).device
        return device

    def train(self, mode: bool = True) -> "ActorCriticLM":
        """Stays in eval mode: with dropout on, the update would score another distribution than was sampled from."""
        super().train(False)
        return self

    def parameters_changed(self) -> None:
        """To be called after an update: cached keys and values of the old parameters are dropped."""
        self._decoder.reset()

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
        """
        ids, mask = observation["input_ids"], observation["attention_mask"]
        live = np.ones(len(ids), dtype=np.bool_) if live is None else live
        logits = self._decoder.next_logits(ids, mask, live)
        allowed = None if action_masks is None else torch.from_numpy(action_masks).to(logits.device)
        logprobs = self._distribution(logits, allowed)
        if deterministic:
            tokens = logprobs.argmax(dim=-1)
        else:
            tokens = torch.multinomial(logprobs.exp(), 1, generator=self.generator).squeeze(-1)
        chosen = logprobs.gather(-1, tokens[:, None]).squeeze(-1)
        return (
            np.where(live, tokens.cpu().numpy(), 0),
            np.where(live, chosen.float().cpu().numpy(), 0.0).astype(np.float32),
        )

    def evaluate(self, batch: Rollout, *, entropies: bool = True) -> Evaluated:
        """A rollout's tokens and states under the present parameters, with gradients."""
        ids, mask, length = self._sequences(batch)
        output = self.policy(
            input_ids=ids, attention_mask=mask, position_ids=positions(mask), use_cache=False,
            logits_to_keep=length, output_hidden_states=self.critic_kind == "shared",
        )  # fmt: skip
        logprobs = self._distribution(output.logits, batch.action_masks)
        chosen = logprobs.gather(-1, batch.completion_ids[..., None]).squeeze(-1)
        values = None
        if self.critic_kind == "shared":
            values = self._head(output.hidden_states[-1], length)
        elif self.critic_trunk is not None:
            values = self._trunk_values(self.critic_trunk, ids, mask, length)
        return Evaluated(chosen, _entropies(logprobs) if entropies else None, values)

    @torch.no_grad()
    def completion_logprobs(self, model: Any, batch: Rollout) -> Tensor:
        """Log-probabilities (B, C) of a rollout's tokens under another causal LM, at this policy's temperature."""
        ids, mask, length = self._sequences(batch)
        logits = model(
            input_ids=ids, attention_mask=mask, position_ids=positions(mask), use_cache=False, logits_to_keep=length
        ).logits
        logprobs = self._distribution(logits, batch.action_masks)
        return logprobs.gather(-1, batch.completion_ids[..., None]).squeeze(-1)

    @torch.no_grad()
    def values(self, batch: Rollout, *, after: bool = False) -> Tensor:
        """Values of the states before each token, (B, C); with `after` also of the state after the last, (B, C + 1)."""
        ids, mask, length = self._sequences(batch, whole=after)
        trunk = self.policy.base_model if self.critic_trunk is None else self.critic_trunk
        return self._trunk_values(trunk, ids, mask, length)

    def _trunk_values(self, trunk: Any, ids: Tensor, mask: Tensor, length: int) -> Tensor:
        hidden = trunk(input_ids=ids, attention_mask=mask, position_ids=positions(mask), use_cache=False)
        return self._head(hidden.last_hidden_state, length)

    def _head(self, hidden: Tensor, length: int) -> Tensor:
        assert self.value_head is not None
        values: Tensor = self.value_head(hidden[:, -length:].to(self.value_head.weight.dtype)).squeeze(-1)
        return values.float()

    def _sequences(self, batch: Rollout, *, whole: bool = False) -> tuple[Tensor, Tensor, int]:
        """Prompt and completion side by side, without the last token unless `whole`; and how many states to read."""
        ids = torch.cat([batch.prompt_ids, batch.completion_ids], dim=1)
        mask = torch.cat([batch.prompt_mask, batch.completion_mask], dim=1).long()
        length = batch.completion_ids.shape[1]
        # logits at position i predict token i + 1, so the last token's own position is not needed.
        return (ids, mask, length + 1) if whole else (ids[:, :-1], mask[:, :-1], length)

    def _distribution(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        logits = logits[..., : self.vocab_size].float() / self.temperature
        if allowed is not None:
            logits = logits.masked_fill(~allowed, -torch.inf)
        return torch.log_softmax(logits, dim=-1)


def _zero_head(width: int) -> nn.Linear:
    """A linear head that says 0 until it is trained."""
    head = nn.Linear(width, 1)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def _entropies(logprobs: Tensor) -> Tensor:
    """Entropies of distributions: (..., V) -> (...)."""
    # 0 · -inf of a forbidden token is NaN; its share of the entropy is 0.
    return -(logprobs.exp() * logprobs.clamp_min(torch.finfo(logprobs.dtype).min)).sum(dim=-1)
