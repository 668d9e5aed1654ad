"""The actor-critic language model: any causal LM as the policy, and a critic over the same tokens."""

import copy
from pathlib import Path
from typing import Any, Literal

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
CriticKind = Literal["separate", "shared"]


class ActorCriticLM(nn.Module):
    """A causal LM that acts token by token from a key-value cache, with a value for every state.

    Sampling and scoring use one distribution: the first `vocab_size` logits, divided by the temperature, with the
    environment's action masks. Dropout is off at all times, so that the first update of a rollout has ratio 1.

    Args:
        policy: a causal LM of transformers.
        vocab_size: V = `len(tokenizer)`; ids from there on are never sampled.
        critic: `"separate"`: a trunk of its own, initialised from the policy's. `"shared"`: a head on the policy's
            trunk, which halves the work and couples the two.
        temperature: of sampling and scoring, above 0.
    """

    def __init__(
        self, policy: Any, *, vocab_size: int, critic: CriticKind = "separate", temperature: float = 1.0
    ) -> None:
        super().__init__()
        if critic not in ("separate", "shared"):
            raise InputError(f"critic must be 'separate' or 'shared', got {critic!r}")
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
        self.value_head = nn.Linear(policy.config.get_text_config().hidden_size, 1)
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)
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
        (path / "critic").mkdir(parents=True, exist_ok=True)
        if self.critic_trunk is not None:
            self.critic_trunk.save_pretrained(path / "critic")
        head = {name: value.detach().contiguous() for name, value in self.value_head.state_dict().items()}
        save_file(head, path / "critic" / "value_head.safetensors")

    def _load_critic(self, path: Path) -> None:
        if self.critic_trunk is not None:
            dtype = next(self.policy.parameters()).dtype
            self.critic_trunk = AutoModel.from_pretrained(path, dtype=dtype).eval()
        self.value_head.load_state_dict(load_file(path / "value_head.safetensors"))

    @property
    def device(self) -> torch.device:
        device: torch.device = self.value_head.weight.device
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

    def evaluate(self, batch: Rollout) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities of a rollout's tokens, entropies of their distributions and values of their states.

        Returns:
            three (B, C) tensors with gradients; entries where `completion_mask` is False are junk.
        """
        ids, mask, length = self._sequences(batch)
        output = self.policy(
            input_ids=ids, attention_mask=mask, position_ids=positions(mask), use_cache=False,
            logits_to_keep=length, output_hidden_states=self.critic_trunk is None,
        )  # fmt: skip
        logprobs = self._distribution(output.logits, batch.action_masks)
        chosen = logprobs.gather(-1, batch.completion_ids[..., None]).squeeze(-1)
        # 0 · -inf of a forbidden token is NaN; its share of the entropy is 0.
        entropies = -(logprobs.exp() * logprobs.clamp_min(torch.finfo(logprobs.dtype).min)).sum(dim=-1)
        if self.critic_trunk is None:
            values = self._head(output.hidden_states[-1], length)
        else:
            values = self._separate_values(ids, mask, length)
        return chosen, entropies, values

    @torch.no_grad()
    def values(self, batch: Rollout, *, after: bool = False) -> Tensor:
        """Values of the states before each token, (B, C); with `after` also of the state after the last, (B, C + 1)."""
        ids, mask, length = self._sequences(batch, whole=after)
        if self.critic_trunk is not None:
            return self._separate_values(ids, mask, length)
        trunk = self.policy.base_model
        hidden = trunk(input_ids=ids, attention_mask=mask, position_ids=positions(mask), use_cache=False)
        return self._head(hidden.last_hidden_state, length)

    def _separate_values(self, ids: Tensor, mask: Tensor, length: int) -> Tensor:
        assert self.critic_trunk is not None
        hidden = self.critic_trunk(input_ids=ids, attention_mask=mask, position_ids=positions(mask), use_cache=False)
        return self._head(hidden.last_hidden_state, length)

    def _head(self, hidden: Tensor, length: int) -> Tensor:
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
