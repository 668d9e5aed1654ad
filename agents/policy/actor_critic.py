"""The actor-critic language model: any causal LM as the policy, and a critic over the same tokens."""

from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForCausalLM

from textrl_env.agents.policy.draws import draw
from textrl_env.agents.policy.evaluated import Evaluated, entropies_of
from textrl_env.agents.rollout import Rollout
from textrl_env.errors import InputError, require_above
from textrl_env.lm import Precision, as_device, autocast, checked_precision, load_model
from textrl_env.lm.adapters import has_adapters, load_adapters, save_model, trunk_copy, unwrapped
from textrl_env.lm.forward import CachedDecoder, read_logits, read_states, token_logprobs
from textrl_env.training import Skeleton, rounded_copy, sharded_like

Array = npt.NDArray[Any]
CriticKind = Literal["separate", "shared", "none"]


class ActorCriticLM(nn.Module):
    """A causal LM that acts token by token from a key-value cache, with a value for every state.

    Sampling and scoring use one distribution: the first `vocab_size` logits, divided by the temperature, with the
    environment's action masks. Dropout is off at all times, so that the first update of a rollout has ratio 1.

    Args:
        policy: a causal LM of transformers. With adapters (`with_lora`, a `peft.PeftModel`) they and the value head are
            what is trained.
        vocab_size: V = `len(tokenizer)`; ids from there on are never sampled.
        critic: `"separate"`: a trunk of its own, initialised from the policy's (with adapters: adapters of its own on
            the same frozen weights). `"shared"`: a head on the policy's
            trunk, which halves the work and couples the two. `"none"`: for algorithms that learn without one.
        temperature: of sampling and scoring, above 0.
        precision: of the linear layers, `"float32"` or `"bfloat16"` (see `textrl_env.lm.precision`).
        gradient_checkpointing: updates keep one state per token and layer instead of all activations, and compute the
            rest twice; the gradients are the same.
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
        policy = unwrapped(policy)
        if policy.config.vocab_size < vocab_size:
            raise InputError(
                f"the policy knows {policy.config.vocab_size} tokens, the tokenizer has {vocab_size}; "
                "use the tokenizer the model was trained with"
            )
        self.policy = policy
        self.vocab_size = vocab_size
        self.temperature = temperature
        self.precision = checked_precision(precision)
        self.gradient_checkpointing = gradient_checkpointing
        self.critic_kind: CriticKind = critic
        self.critic_trunk = trunk_copy(policy) if critic == "separate" else None
        self.value_head = None if critic == "none" else _zero_head(policy)
        # Where the model is sharded over processes: what `whole` fills.
        self.skeleton: Skeleton | None = None
        self.eval()
        self.parameters_changed()
        self.generator = torch.Generator(self.device)

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
        """From a causal LM's folder, or from a folder that `save_pretrained` wrote (then with its critic).

        `vocab_size` None takes the model's own; pass `len(tokenizer)` where the model's is padded. `device="auto"` is
        the GPU where there is one, else the CPU; environment, reference and rollouts follow.
        """
        path = Path(path)
        folder = path / "policy" if (path / "policy").is_dir() else path
        if not (folder / "config.json").is_file():
            raise InputError(f"{path}: no model here (no config.json); expected a folder that save_pretrained wrote")
        policy = load_model(AutoModelForCausalLM, folder, dtype=dtype).to(as_device(device))
        agent = cls(
            policy, vocab_size=vocab_size or policy.config.vocab_size, critic=critic, temperature=temperature,
            precision=precision, gradient_checkpointing=gradient_checkpointing,
        )  # fmt: skip
        if (path / "critic").is_dir():
            agent._load_critic(path / "critic")
        return agent

    def save_pretrained(self, path: str | Path) -> None:
        """Writes `policy/` (loads with `AutoModelForCausalLM`) and `critic/` (its head, and its trunk if any).

        With adapters both hold merged weights, and the adapters beside them in `adapter/`, as peft writes them.
        """
        path = Path(path)
        save_model(self.policy, path / "policy")
        if self.value_head is None:
            return
        (path / "critic").mkdir(parents=True, exist_ok=True)
        if self.critic_trunk is not None:
            save_model(self.critic_trunk, path / "critic")
        head = {name: value.detach().contiguous() for name, value in self.value_head.state_dict().items()}
        save_file(head, path / "critic" / "value_head.safetensors")

    def load_pretrained(self, path: str | Path) -> None:
        """Takes the parameters that `save_pretrained` wrote into this model, bit for bit; adapters into adapters."""
        path = Path(path)
        if has_adapters(self.policy):
            load_adapters(self.policy, path / "policy")
            if self.critic_trunk is not None:
                load_adapters(self.critic_trunk, path / "critic")
            self._load_head(path / "critic")
        else:
            dtype = next(self.policy.parameters()).dtype
            loaded = ActorCriticLM.from_pretrained(
                path, vocab_size=self.vocab_size, critic=self.critic_kind, dtype=dtype, device="cpu"
            )
            mine = self.state_dict()
            self.load_state_dict({name: sharded_like(value, mine[name]) for name, value in loaded.state_dict().items()})
        self.parameters_changed()

    def _load_critic(self, path: Path) -> None:
        if self.critic_trunk is not None:
            dtype = next(self.policy.parameters()).dtype
            self.critic_trunk = load_model(AutoModel, path, dtype=dtype).eval().to(self.device)
        self._load_head(path)

    def _load_head(self, path: Path) -> None:
        if self.value_head is not None:
            self.value_head.load_state_dict(load_file(path / "value_head.safetensors"))

    def whole(self) -> "ActorCriticLM":
        """Itself; where it is sharded over several processes, a copy that is not, which all of them must ask for."""
        return self if self.skeleton is None else self.skeleton.filled(self)  # type: ignore[no-any-return]

    def whole_policy(self) -> Any:
        """The policy of `whole`."""
        return self.policy if self.skeleton is None else self.skeleton.filled(self, "policy")

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self.policy.parameters()).device
        return device

    @property
    def _no_split_modules(self) -> list[str]:
        """What accelerate asks a model for: the classes of its layers, whose parameters it gathers one by one."""
        return list(self.policy._no_split_modules)

    def train(self, mode: bool = True) -> "ActorCriticLM":
        """Stays in eval mode: with dropout on, the update would score another distribution than was sampled from."""
        super().train(False)
        return self

    def _apply(self, fn: Any, recurse: bool = True) -> "ActorCriticLM":
        """What `to` and `cuda` call: the generator goes along, started anew from its seed, and the cache is dropped."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.generator.device != self.device:
            self.generator = torch.Generator(self.device).manual_seed(self.generator.initial_seed())
        self.parameters_changed()
        return self

    def parameters_changed(self) -> None:
        """To be called after an update: cached keys and values of the old parameters are dropped."""
        self._decoder: CachedDecoder | None = None

    @property
    def decoder(self) -> CachedDecoder:
        """Next-token logits of the policy as its parameters are."""
        if self._decoder is None:
            # A rollout's steps are many and small: in bfloat16 the weights are rounded once, not at every step.
            rounded = self.precision == "bfloat16"
            policy = self.whole_policy()
            self._decoder = CachedDecoder(rounded_copy(policy) if rounded else policy)
        return self._decoder

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
        with autocast(self.precision, self.device):
            logits = self.decoder.next_logits(ids, mask, live)
        allowed = None if action_masks is None else torch.from_numpy(action_masks).to(logits.device)
        logprobs = self.distribution(logits, allowed)
        tokens = logprobs.argmax(dim=-1) if deterministic else draw(logprobs.exp(), self.generator)
        chosen = logprobs.gather(-1, tokens[:, None]).squeeze(-1)
        return (
            np.where(live, tokens.cpu().numpy(), 0),
            np.where(live, chosen.float().cpu().numpy(), 0.0).astype(np.float32),
        )

    def evaluate(self, batch: Rollout, *, entropies: bool = True) -> Evaluated:
        """A rollout's tokens and states under the present parameters, with gradients."""
        logits, values = self.states(*batch.states())
        counted = batch.completion_mask
        tokens = batch.completion_ids[counted]
        entropy = None
        if entropies or batch.action_masks is not None:
            allowed = None if batch.action_masks is None else batch.action_masks[counted]
            distribution = self.distribution(logits, allowed)
            chosen = distribution.gather(-1, tokens[:, None]).squeeze(-1)
            entropy = batch.placed(entropies_of(distribution)) if entropies else None
        else:
            chosen = token_logprobs(logits, tokens, vocab_size=self.vocab_size, temperature=self.temperature)
        return Evaluated(batch.placed(chosen), entropy, None if values is None else batch.placed(values))

    @torch.no_grad()
    def values(self, batch: Rollout, *, after: bool = False) -> Tensor:
        """Values of the states before each token, (B, C); with `after` also of the state after the last, (B, C + 1)."""
        ids, mask, read = batch.states(after=after)
        values = self.state_values(ids, mask, read)
        # Left-padded as prompts are, the states stand in the columns from the prompt's newest token on.
        places = read[:, batch.prompt_ids.shape[1] - 1 : None if after else -1]
        return values.new_zeros(places.shape).masked_scatter(places, values)

    def states(self, ids: Tensor, mask: Tensor, read: Tensor) -> tuple[Tensor, Tensor | None]:
        """Next-token logits (R, V_model) and values (R,) after some tokens of padded sequences, with gradients.

        Args:
            ids, mask: (B, L); mask is True on each sequence's tokens, which stand side by side.
            read: (B, L), True on the tokens whose states are wanted, R in all.
        """
        with autocast(self.precision, self.device):
            logits, hidden = read_logits(
                self.policy, ids, mask, read, with_states=self.critic_kind == "shared",
                recompute=self.gradient_checkpointing,
            )  # fmt: skip
        if self.critic_trunk is not None:
            return logits, self.state_values(ids, mask, read)
        return logits, None if hidden is None else self._head(hidden)

    def state_values(self, ids: Tensor, mask: Tensor, read: Tensor) -> Tensor:
        """The values of `states` alone."""
        trunk = self.policy.base_model if self.critic_trunk is None else self.critic_trunk
        with autocast(self.precision, self.device):
            hidden = read_states(trunk, ids, mask, read, recompute=self.gradient_checkpointing)
        return self._head(hidden)

    def distribution(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        """Log-probabilities of the next token: logits (..., V_model), allowed (..., V) or None -> (..., V)."""
        logits = logits[..., : self.vocab_size].float() / self.temperature
        if allowed is not None:
            logits = logits.masked_fill(~allowed, -torch.inf)
        return torch.log_softmax(logits, dim=-1)

    def _head(self, hidden: Tensor) -> Tensor:
        assert self.value_head is not None
        values: Tensor = self.value_head(hidden.to(self.value_head.weight.dtype)).squeeze(-1)
        return values.float()


def _zero_head(policy: Any) -> nn.Linear:
    """A linear head that says 0 until it is trained."""
    head = nn.Linear(policy.config.get_text_config().hidden_size, 1, device=policy.device)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head
