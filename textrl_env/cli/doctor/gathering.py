"""Real episodes of the environment, and what it booked for every step of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textrl_env.agents import ActorCriticLM, Rollout, collect
from textrl_env.data import PromptDataset
from textrl_env.mdp import KLShaping, TextGenVectorEnv
from textrl_env.reference import FrozenReference

Array = npt.NDArray[Any]
KL_COEF = 1.0


@dataclass(frozen=True)
class Episodes:
    """Finished episodes with T steps of the environment's N slots.

    Attributes:
        rollout: what PPO would train on.
        rewards, terms: (T, N), the reward of every step and the sum of its ledger.
        allowed: (T,), the fewest tokens that a live slot could choose from.
        ended: the share of episodes that ended with the end token.
        texts: per episode its prompt and completion.
    """

    rollout: Rollout
    rewards: Array
    terms: Array
    allowed: Array
    ended: float
    texts: tuple[list[str], list[str]]


class _Witness(TextGenVectorEnv):
    """Keeps what `Episodes` reports of every step."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.seen: list[tuple[Array, Array, int]] = []
        self.finished: list[str] = []

    def step(self, actions: Any) -> tuple[Any, Array, Array, Array, dict[str, Any]]:
        live = self.live
        allowed = int(self.action_masks()[live].sum(axis=1).min())
        observation, rewards, terminated, truncated, info = super().step(actions)
        terms = [values for name, values in info["reward_terms"].items() if not name.startswith("_")]
        self.seen.append((rewards, np.sum(terms, axis=0), allowed))
        self.finished += info["finish_reason"][live & ~self.live].tolist()
        return observation, rewards, terminated, truncated, info


def gather(
    agent: ActorCriticLM,
    reference: FrozenReference,
    reward: Any,
    prompts: PromptDataset,
    tokenizer: Any,
    *,
    n_episodes: int,
    max_new_tokens: int,
    seed: int,
) -> Episodes:
    """Samples `n_episodes` as PPO does, in half as many slots, so that slots are refilled; KL is paid by episode."""
    env = _Witness(
        prompts, reward, tokenizer, num_envs=n_episodes // 2, autoreset_mode="Disabled",
        max_new_tokens=max_new_tokens, kl=KLShaping(KL_COEF, mode="sampled", estimator="k1", pay="episode"),
        reference=reference,
    )  # fmt: skip
    env.reset(seed=seed)
    agent.generator.manual_seed(seed)
    agent.parameters_changed()
    rollout = collect(env, agent, n_episodes)
    assert rollout is not None
    rewards, terms, allowed = zip(*env.seen, strict=True)
    completions = []
    for ids, mask in zip(rollout.completion_ids, rollout.completion_mask, strict=True):
        written = ids[mask].tolist()
        without_end = written[:-1] if written[-1] == tokenizer.eos_token_id else written
        completions.append(tokenizer.decode(without_end, skip_special_tokens=True))
    return Episodes(
        rollout, np.array(rewards), np.array(terms), np.array(allowed), float(np.mean(np.array(env.finished) == "eos")),
        ([prompts.prompts[index] for index in rollout.prompt_index.tolist()], completions),
    )  # fmt: skip
