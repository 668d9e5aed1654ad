"""Episodes of the environment, with what it booked for every step; the same episodes with no padding, and with more."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import pad

from textrl_env.agents import ActorCriticLM, Rollout, collect
from textrl_env.data.text import decode_completion
from textrl_env.errors import require_seed
from textrl_env.mdp import TextGenVectorEnv

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class SampledEpisodes:
    """Complete episodes, sampled in T steps of the environment's N slots.

    Attributes:
        rollout: what PPO would train on.
        rewards, terms: (T, N), the reward of every step and the sum of its ledger.
        choices: (T,), the fewest tokens that a live slot could choose from.
        end_share: the share of episodes that ended with the end token.
        texts: the prompt and the completion of every episode.
        ids: their token ids and why each ended, by the names that reward functions know them by.
    """

    rollout: Rollout
    rewards: Array
    terms: Array
    choices: Array
    end_share: float
    texts: tuple[list[str], list[str]]
    ids: dict[str, Any]


class RecordingEnv(TextGenVectorEnv):
    """An environment that notes what `SampledEpisodes` reports of every step."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.steps: list[tuple[Array, Array, int]] = []
        self.finish_reasons: list[str] = []

    def step(self, actions: Any) -> tuple[Any, Array, Array, Array, dict[str, Any]]:
        """Takes a step, see `TextGenVectorEnv`."""
        live = self.live
        fewest = int(self.action_masks()[live].sum(axis=1).min())
        observation, rewards, terminated, truncated, info = super().step(actions)
        terms = [values for name, values in info["reward_terms"].items() if not name.startswith("_")]
        self.steps.append((rewards, np.sum(terms, axis=0), fewest))
        self.finish_reasons += info["finish_reason"][live & ~self.live].tolist()
        return observation, rewards, terminated, truncated, info


def sample_episodes(env: RecordingEnv, agent: ActorCriticLM, n: int, *, seed: int) -> SampledEpisodes:
    """Samples n episodes as PPO does.

    Args:
        env: new; with fewer slots than episodes slots are refilled.
        agent: its generator is seeded.
        n: number of episodes.
        seed: of the environment and the agent.
    """
    env.reset(seed=seed)
    agent.generator.manual_seed(require_seed(seed))
    agent.parameters_changed()
    rollout = collect(env, agent, n)
    assert rollout is not None
    rewards, terms, choices = zip(*env.steps, strict=True)
    tokenizer = env.task.tokenizer
    prompt_ids, completion_ids = (
        [row[counts].tolist() for row, counts in zip(ids, mask, strict=True)]
        for ids, mask in ((rollout.prompt_ids, rollout.prompt_mask), (rollout.completion_ids, rollout.completion_mask))
    )
    completions = [decode_completion(tokenizer, ids, end_ids=env.task.end_ids) for ids in completion_ids]
    reasons = [env.task.finish_reason(ids) for ids in completion_ids]
    return SampledEpisodes(
        rollout=rollout,
        rewards=np.array(rewards),
        terms=np.array(terms),
        choices=np.array(choices),
        end_share=float(np.mean(np.array(env.finish_reasons) == "eos")),
        texts=([env.task.prompts.prompts[index] for index in rollout.prompt_index.tolist()], completions),
        ids={"prompt_ids": prompt_ids, "completion_ids": completion_ids, "finish_reason": reasons},
    )


def strip_padding(rollout: Rollout, row: int) -> Rollout:
    """Returns one episode without its padding."""
    episode = rollout[torch.tensor([row])]
    prompt, n = episode.prompt_mask[0], int(episode.completion_mask.sum())
    names = ("completion_ids", "completion_mask", "logprobs", "rewards")
    shorter = {name: getattr(episode, name)[:, :n] for name in names}
    prompt_ids, prompt_mask = episode.prompt_ids[:, prompt], episode.prompt_mask[:, prompt]
    return replace(episode, prompt_ids=prompt_ids, prompt_mask=prompt_mask, **shorter)


def add_padding(rollout: Rollout, fill: int, *, front: int = 5, back: int = 3) -> Rollout:
    """Pads prompts in front and completions behind with `fill`, so that no row is without any padding."""
    longer = {name: pad(getattr(rollout, name), (0, back)) for name in ("completion_mask", "logprobs", "rewards")}
    return replace(
        rollout,
        prompt_ids=pad(rollout.prompt_ids, (front, 0), value=fill),
        prompt_mask=pad(rollout.prompt_mask, (front, 0)),
        completion_ids=pad(rollout.completion_ids, (0, back), value=fill),
        **longer,
    )
