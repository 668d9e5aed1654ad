"""Collecting a rollout: whole episodes from a vector environment, in one process or shared out over several."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from gymnasium.vector import AutoresetMode

from textrl_env.agents.policy import ActorCriticLM
from textrl_env.agents.processes import Processes
from textrl_env.agents.rollout import Rollout
from textrl_env.errors import InputError
from textrl_env.mdp import TextGenVectorEnv

Array = npt.NDArray[Any]


class Actor(Protocol):
    """A policy, as far as collecting a rollout needs one."""

    def act(self, observation: dict[str, Array], *, live: Array, action_masks: Array | None) -> tuple[Array, Array]:
        """Samples tokens (N,) and returns their log-probabilities (N,) too, for the live rows of an observation."""


def collect(
    env: TextGenVectorEnv,
    policy: Actor,
    n_episodes: int,
    *,
    group_size: int = 1,
    on_step: Callable[[], bool] = lambda: True,
) -> Rollout | None:
    """Starts `n_episodes` episodes in the environment's slots, refilling slots as they end, and finishes them all.

    Every started episode is kept, so short completions are not favoured.

    Args:
        env: in autoreset mode DISABLED; all its slots are used, or the first `n_episodes` if it has more.
        policy: chooses the tokens.
        n_episodes: 1 or more.
        group_size: completions per prompt; `n_episodes` is a multiple of it, and groups stand side by side.
        on_step: called after every step of the environment; False stops at once.

    Returns:
        the episodes in the order in which they were started, or None where `on_step` said stop.

    Raises:
        InputError: the environment resets its slots by itself.
    """
    if env.autoreset_mode is not AutoresetMode.DISABLED:
        raise InputError("gathering whole episodes needs an environment with autoreset_mode='Disabled'")
    n_slots = env.num_envs
    episode_of_slot = np.arange(n_slots)
    running = episode_of_slot < n_episodes
    n_started = int(running.sum())
    arrays = _EpisodeArrays(n_episodes, group_size, env)
    observation = arrays.start(episode_of_slot, running)
    # An episode that somebody else began in a slot unused here would run on, on tokens that nobody chose.
    env.abandon(~running)
    while running.any():
        masks = env.action_masks() if env.masks_actions else None
        tokens, logprobs = policy.act(observation, live=running, action_masks=masks)
        pays_samples = env.task.kl is not None and env.task.kl.mode == "sampled"
        observation, rewards, terminated, truncated, info = env.step(
            {"token": tokens, "logprob": logprobs} if pays_samples else tokens
        )
        slots = np.flatnonzero(running)
        arrays.step(episode_of_slot[slots], slots, tokens=tokens, logprobs=logprobs, rewards=rewards, masks=masks)
        ends = np.flatnonzero(running & (terminated | truncated))
        arrays.end(episode_of_slot[ends], ends, truncated, info)
        running[ends] = False
        refill = ends[: n_episodes - n_started]
        if len(refill):
            episode_of_slot[refill] = np.arange(n_started, n_started + len(refill))
            n_started += len(refill)
            running[refill] = True
            observation = arrays.start(episode_of_slot, np.isin(np.arange(n_slots), refill))
        if not on_step():
            return None
    return arrays.rollout()


def collect_in_processes(
    env: TextGenVectorEnv,
    policy: ActorCriticLM,
    n_episodes: int,
    *,
    group_size: int,
    on_step: Callable[[], bool],
    processes: Processes,
) -> Rollout | None:
    """Collects `n_episodes` in all, a part in each process, and gathers the whole rollout in every one of them.

    The arguments are those of `collect`, with `n_episodes` of all processes together.

    Returns:
        the rollout on the policy's device, paid with the KL coefficient that was in force at the start. None, and
        nothing drawn, where `on_step` said stop in one of the processes; the others finish their part first.
    """
    env_before, generator_before = env.state(), policy.generator.get_state()
    # A controller is to see the KL of all episodes, not of one process' or of those that end first.
    with env.hold_kl_coef():
        part = collect(env, policy, n_episodes // processes.count, group_size=group_size, on_step=on_step)
    stop = processes.any_of(part is None)
    if part is not None and not stop:
        rollout = processes.gather_rollout(part.to(policy.device))
        env.control_kl(kl=float(rollout.kl.mean()), episodes=len(rollout))
        return rollout
    env.restore(env_before)
    policy.generator.set_state(generator_before)
    policy.parameters_changed()
    return None


class _EpisodeArrays:
    """The arrays of a rollout while it is collected, one row an episode."""

    def __init__(self, n_episodes: int, group_size: int, env: TextGenVectorEnv) -> None:
        self.env, self.group_size = env, group_size
        task, limit = env.task, env.task.max_new_tokens
        self.prompt_ids = np.full((n_episodes, task.length), task.pad_id, dtype=np.int64)
        self.prompt_mask = np.zeros((n_episodes, task.length), dtype=np.bool_)
        self.completion_ids = np.full((n_episodes, limit), task.pad_id, dtype=np.int64)
        self.lengths = np.zeros(n_episodes, dtype=np.int64)
        self.logprobs = np.zeros((n_episodes, limit), dtype=np.float32)
        self.rewards = np.zeros((n_episodes, limit), dtype=np.float32)
        self.scores = np.zeros(n_episodes, dtype=np.float32)
        self.kl = np.zeros(n_episodes, dtype=np.float32)
        self.truncated = np.zeros(n_episodes, dtype=np.bool_)
        self.prompt_index = np.zeros(n_episodes, dtype=np.int64)
        shape = (n_episodes, limit, task.vocab_size)
        self.action_masks = np.ones(shape, dtype=np.bool_) if env.masks_actions else None

    def start(self, episode_of_slot: Array, slots: Array) -> dict[str, Array]:
        """Starts the episodes of the slots marked in (N,), a group's on the prompt that its first one drew."""
        first = slots & (episode_of_slot % self.group_size == 0)
        if first.any():
            observation, info = self.env.reset(options={"reset_mask": first})
            self.prompt_index[episode_of_slot[first]] = info["prompt_index"][first]
        followers = slots & ~first
        if followers.any():
            leaders = episode_of_slot[followers] // self.group_size * self.group_size
            self.prompt_index[episode_of_slot[followers]] = self.prompt_index[leaders]
            prompts = np.zeros(len(slots), dtype=np.int64)
            prompts[followers] = self.prompt_index[leaders]
            observation, _ = self.env.reset(options={"reset_mask": followers, "prompt_index": prompts})
        episodes = episode_of_slot[slots]
        self.prompt_ids[episodes] = observation["input_ids"][slots]
        self.prompt_mask[episodes] = observation["attention_mask"][slots].astype(bool)
        return observation

    def step(
        self, episodes: Array, slots: Array, *, tokens: Array, logprobs: Array, rewards: Array, masks: Array | None
    ) -> None:
        """Appends a token to each of the episodes, which run in the slots."""
        position = self.lengths[episodes]
        self.completion_ids[episodes, position] = tokens[slots]
        self.logprobs[episodes, position] = logprobs[slots]
        self.rewards[episodes, position] = rewards[slots]
        if self.action_masks is not None and masks is not None:
            self.action_masks[episodes, position] = masks[slots]
        self.lengths[episodes] += 1

    def end(self, episodes: Array, slots: Array, truncated: Array, info: dict[str, Any]) -> None:
        """Takes over what the environment says of episodes at their end."""
        self.scores[episodes] = info["score"][slots]
        self.truncated[episodes] = truncated[slots]
        if "kl" in info:
            self.kl[episodes] = info["kl"][slots]
        # Paid per episode, the last step's reward is a sum; the environment says how it splits over the tokens.
        if "token_rewards" in info:
            self.rewards[episodes] = info["token_rewards"][slots]

    def rollout(self) -> Rollout:
        """Returns the episodes as tensors, as wide as the longest prompt and the longest completion."""
        width = int(self.prompt_mask.sum(axis=1).max())
        longest = int(self.lengths.max())
        masks = None if self.action_masks is None else torch.from_numpy(self.action_masks[:, :longest])
        return Rollout(
            prompt_ids=torch.from_numpy(self.prompt_ids[:, -width:].copy()),
            prompt_mask=torch.from_numpy(self.prompt_mask[:, -width:].copy()),
            completion_ids=torch.from_numpy(self.completion_ids[:, :longest].copy()),
            completion_mask=torch.from_numpy(np.arange(longest)[None] < self.lengths[:, None]),
            logprobs=torch.from_numpy(self.logprobs[:, :longest].copy()),
            rewards=torch.from_numpy(self.rewards[:, :longest].copy()),
            scores=torch.from_numpy(self.scores),
            kl=torch.from_numpy(self.kl),
            truncated=torch.from_numpy(self.truncated),
            prompt_index=torch.from_numpy(self.prompt_index),
            action_masks=masks,
        )
