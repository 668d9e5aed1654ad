"""A causal LM as the policy of Stable-Baselines3's own on-policy algorithms."""

import copy
from pathlib import Path
from typing import Any, NamedTuple

import torch
from gymnasium import spaces
from gymnasium.spaces.utils import flatdim
from stable_baselines3.common.distributions import CategoricalDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from textrl_env.agents.policy.actor_critic import ActorCriticLM
from textrl_env.agents.policy.networks import CriticKind
from textrl_env.errors import InputError
from textrl_env.lm import context_length
from textrl_env.lm.loading import build_model


class CausalLMPolicy(ActorCriticPolicy):
    """An `ActorCriticLM` that SB3's PPO and A2C train as they are.

        env = TextGenVectorEnv(
            ..., autoreset_mode="SameStep", kl=KLShaping(coef), reference=FrozenReference(model, vocab_size=V)
        )
        ppo = stable_baselines3.PPO(
            CausalLMPolicy, as_sb3_vec_env(env), policy_kwargs={"model": model}, ent_coef=coef, gamma=1.0,
            normalize_advantage=False,
        )

    KL. The environment's mode `"reference"` pays score + coef · Σ_t log π_ref(a_t). Of the KL objective that leaves
    coef · Σ_t H(π(·|s_t)) to the algorithm. SB3's `ent_coef` adds the gradient of each visited state's entropy, but
    entropies are no reward: a token is not credited with the entropy of the states that it leads to. Fully trained, PPO
    is at π(a|s) ∝ exp(Q(s, a) / ent_coef), where Q, the expected rest of the return, lacks the entropies to come. With
    `ent_coef=coef` this is near the optimum of the KL objective while coef is small beside the scores, and far from it
    when coef is as large as they are. At the start every token costs the reference's entropy, which draws the policy
    towards early ends. The two weights have one unit only with `normalize_advantage=False`.

    Masks. SB3's PPO knows none: with `min_new_tokens` or `banned_tokens` the environment refuses the first forbidden
    token.

    Work. SB3 learns from single transitions. Of a batch of them the states of one completion go through the model
    together, since each is the beginning of the next; with a `batch_size` of whole rollouts that is once a completion,
    as in `textrl_env.agents.PPO`, with small shuffled minibatches nearly once a state. For each step of a rollout the
    whole text so far goes through the model: SB3 has no place for a cache.

    Saving. `PPO.save` keeps the trained weights and, beside them, `policy_kwargs`: a folder as its path, which must be
    there for `PPO.load`, and a model with the weights it started from. To load without them give the model's
    configuration and the same critic: `PPO.load(path, custom_objects={"policy_kwargs": {"model": model.config}})`.
    `ppo.policy.lm.save_pretrained(folder)` writes the language model and the critic for transformers.

    Args:
        observation_space, action_space: of a `TextGenVectorEnv` whose actions are all tokens.
        lr_schedule: of the one optimizer that policy and critic share.
        model: where training starts: a causal LM, which is copied; the folder of one, or of an `ActorCriticLM` with its
            critic; or a configuration, for fresh weights.
        critic: as for `ActorCriticLM`.
        use_sde: always False, SB3 passes it on.
        optimizer_class, optimizer_kwargs: as SB3's, by default Adam with eps 1e-5.

    Raises:
        InputError: spaces of another kind, or texts longer than the model's context.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        *,
        model: PreTrainedModel | PretrainedConfig | str | Path,
        critic: CriticKind = "separate",
        use_sde: bool = False,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        if critic == "none":
            raise InputError("SB3's on-policy algorithms learn with a critic; use critic='separate' or 'shared'")
        _check_spaces(observation_space, action_space)
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            use_sde=use_sde,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
        )
        self.lm = _actor_critic(model, vocab_size=int(action_space.n), critic=critic)
        context = context_length(self.lm.policy)
        length = flatdim(observation_space["input_ids"])
        if context is not None and length > context:
            raise InputError(
                f"texts of up to {length} tokens do not fit the model's context of {context}; "
                "lower max_new_tokens or shorten the prompts"
            )
        self.optimizer = optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def _build(self, lr_schedule: Schedule) -> None:
        """Builds nothing: the language model is there only once the base classes' `__init__` has run."""

    def forward(self, obs: Any, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Chooses tokens (B,); returns them with values (B, 1) and the tokens' log-probabilities (B,)."""
        distribution, values = self._states(obs)
        tokens = distribution.get_actions(deterministic=deterministic)
        return tokens, values, distribution.log_prob(tokens)

    def evaluate_actions(self, obs: PyTorchObs, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Computes values (B, 1), log-probabilities of the tokens (B,) and entropies (B,)."""
        distribution, values = self._states(obs)
        return values, distribution.log_prob(actions), distribution.entropy()

    def get_distribution(self, obs: PyTorchObs) -> Distribution:
        """Returns the distribution of the next token, as SB3 asks for it."""
        return self._states(obs)[0]

    def predict_values(self, obs: PyTorchObs) -> Tensor:
        """Computes values, (B, 1)."""
        texts = _texts(obs)
        return self.lm.state_values(texts.ids, texts.mask, texts.is_state)[texts.order, None]

    def _states(self, obs: Any) -> tuple[Distribution, Tensor]:
        texts = _texts(obs)
        logits, values = self.lm.states(texts.ids, texts.mask, texts.is_state)
        assert values is not None
        logprobs = self.lm.distribution(logits, None)[texts.order]
        return CategoricalDistribution(self.lm.vocab_size).proba_distribution(logprobs), values[texts.order, None]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,
            "model": self.lm.policy.config,
            "critic": self.lm.critic_kind,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
        }


def _check_spaces(observation_space: Any, action_space: Any) -> None:
    hint = "expected token ids with their attention mask, and one action for each token"
    if not isinstance(observation_space, spaces.Dict) or set(observation_space) != {"input_ids", "attention_mask"}:
        raise InputError(f"observation space {observation_space}; {hint}")
    ids: Any = observation_space["input_ids"]
    n_tokens = int(ids.high.max()) + 1
    if not isinstance(action_space, spaces.Discrete) or action_space.n != n_tokens:
        raise InputError(
            f"action space {action_space} over {n_tokens} tokens; {hint}. Leave out action_tokens, and wrap the "
            "environment with as_sb3_vec_env"
        )


def _actor_critic(model: Any, *, vocab_size: int, critic: CriticKind) -> ActorCriticLM:
    if isinstance(model, str | Path):
        return ActorCriticLM.from_pretrained(model, vocab_size=vocab_size, critic=critic)
    if isinstance(model, PretrainedConfig):
        model = build_model(AutoModelForCausalLM, model)
    # SB3 takes policy_kwargs for a description, which a second algorithm may share and `save` writes down.
    return ActorCriticLM(copy.deepcopy(model), vocab_size=vocab_size, critic=critic)


def _texts(obs: Any) -> "SharedPrefixes":
    return share_prefixes(obs["input_ids"].long(), obs["attention_mask"].bool())


class SharedPrefixes(NamedTuple):
    """The texts that no other one goes on from, and where all states are read in them.

    Attributes:
        ids, mask: (M, L), the M texts from the left, mask True on their tokens.
        is_state: (M, L), True on the last token of each text that was put in.
        order: (B,), which of the states, row by row, is the last of each text that was put in.
    """

    ids: Tensor
    mask: Tensor
    is_state: Tensor
    order: Tensor


def share_prefixes(ids: Tensor, mask: Tensor) -> SharedPrefixes:
    """Finds texts that another text begins with, which are read on the way through the longer one.

    Args:
        ids: (B, L), B left-padded texts.
        mask: (B, L), True on their tokens, at least one a text.
    """
    lengths, columns = mask.sum(dim=1, keepdim=True), torch.arange(ids.shape[1], device=ids.device)
    left = ids.gather(1, (columns + ids.shape[1] - lengths).clamp_max(ids.shape[1] - 1))
    # Padding sorts before every token: a text stands right before all that go on from it.
    padding = -1
    texts, place = torch.unique(left.where(columns < lengths, padding), dim=0, return_inverse=True)
    goes_on = ((texts[:-1] == texts[1:]) | (texts[:-1] == padding)).all(dim=1)
    is_whole = torch.cat([~goes_on, goes_on.new_ones(1)])
    row, last = is_whole.cumsum(dim=0) - is_whole.long(), (texts != padding).sum(dim=1) - 1
    whole_texts = texts[is_whole]
    is_state = torch.zeros_like(whole_texts, dtype=torch.bool)
    is_state[row, last] = True
    order = (is_state.flatten().cumsum(dim=0) - 1).view_as(is_state)[row, last]
    return SharedPrefixes(whole_texts.clamp_min(0), whole_texts != padding, is_state, order[place])
