"""Whole completions gathered from a vector environment, and the loop that gathers them."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from textrl_env.errors import InputError
from textrl_env.mdp import TextGenVectorEnv

Array = npt.NDArray[Any]


class Actor(Protocol):
    """What gathering asks of a policy."""

    def act(self, observation: dict[str, Array], *, live: Array, action_masks: Array | None) -> tuple[Array, Array]:
        """Sampled tokens (N,) and their log-probabilities (N,) for the live rows of an observation."""


@dataclass(frozen=True)
class Rollout:
    """B finished episodes as tensors; prompts left-padded, completions right-padded.

    Attributes:
        prompt_ids, prompt_mask: (B, P).
        completion_ids, completion_mask: (B, C); the end token counts where it was chosen.
        logprobs: (B, C) of the tokens when they were sampled.
        rewards: (B, C) the environment's, by token.
        scores: (B,) of the reward functions.
        kl: (B,) log π(y|x) - log π_ref(y|x) in nats; 0 where the environment does not know it.
        truncated: (B,) True where the length limit cut the episode without a score.
        prompt_index: (B,).
        action_masks: (B, C, V), True where a token could be chosen, or None where all could.
    """

    prompt_ids: Tensor
    prompt_mask: Tensor
    completion_ids: Tensor
    completion_mask: Tensor
    logprobs: Tensor
    rewards: Tensor
    scores: Tensor
    kl: Tensor
    truncated: Tensor
    prompt_index: Tensor
    action_masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def n_tokens(self) -> int:
        """Counted completion tokens: the timesteps of this rollout."""
        return int(self.completion_mask.sum())

    def states(self, *, after: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """The episodes as sequences: ids, mask, and where the state before a completion token stands, (B, L) each.

        With `after`, the state after the last token as well.
        """
        columns = self.prompt_ids.shape[1]
        counted = self.completion_mask
        ids = torch.cat([self.prompt_ids, self.completion_ids], dim=1)
        # The prompt's newest token stands in front of the completion's first.
        read = torch.zeros_like(ids, dtype=torch.bool)
        read[:, columns - 1 : -1] = counted
        if after:
            read[:, columns:] |= counted
        # Tokens after the last state that is read are not needed.
        mask = torch.cat([self.prompt_mask, read[:, columns:]], dim=1)
        return ids, mask, read

    def placed(self, flat: Tensor) -> Tensor:
        """Numbers of the counted tokens, in the order of `states`, in their places: (n_tokens,) -> (B, C), else 0."""
        return flat.new_zeros(self.completion_mask.shape).masked_scatter(self.completion_mask, flat)

    def __getitem__(self, rows: Tensor) -> "Rollout":
        """Some of the episodes, as a rollout."""
        return self._map(lambda value: value[rows])

    def to(self, device: torch.device) -> "Rollout":
        """The same on another device."""
        return self._map(lambda value: value.to(device))

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Rollout":
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return Rollout(**{name: change(value) for name, value in parts.items() if value is not None})


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
        group_size: completions per prompt; `n_episodes` is a multiple of it, and groups stand side by side.
        on_step: called after every step of the environment; False stops at once.

    Returns:
        the episodes in the order in which they were started, or None where `on_step` said stop.
    """
    if env.autoreset_mode is not AutoresetMode.DISABLED:
        raise InputError("gathering whole episodes needs an environment with autoreset_mode='Disabled'")
    n = env.num_envs
    episode_of_slot = np.arange(n)
    running = episode_of_slot < n_episodes
    started = int(running.sum())
    record = _Record(n_episodes, group_size, env)
    observation = record.start(episode_of_slot, running)
    # An episode that somebody else began in a slot unused here would run on, on tokens that nobody chose.
    env.abandon(~running)
    while running.any():
        masks = env.action_masks() if env.masks_actions else None
        tokens, logprobs = policy.act(observation, live=running, action_masks=masks)
        sampled = env.task.kl is not None and env.task.kl.mode == "sampled"
        observation, rewards, terminated, truncated, info = env.step(
            {"token": tokens, "logprob": logprobs} if sampled else tokens
        )
        slots = np.flatnonzero(running)
        record.step(episode_of_slot[slots], slots, tokens, logprobs, rewards, masks)
        ended = np.flatnonzero(running & (terminated | truncated))
        record.end(episode_of_slot[ended], ended, truncated, info)
        running[ended] = False
        refill = ended[: n_episodes - started]
        if len(refill):
            episode_of_slot[refill] = np.arange(started, started + len(refill))
            started += len(refill)
            running[refill] = True
            observation = record.start(episode_of_slot, np.isin(np.arange(n), refill))
        if not on_step():
            return None
    return record.rollout()


class _Record:
    """The arrays of a rollout while it is gathered, one row an episode."""

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
            followed = episode_of_slot[followers] // self.group_size * self.group_size
            self.prompt_index[episode_of_slot[followers]] = self.prompt_index[followed]
            prompts = np.zeros(len(slots), dtype=np.int64)
            prompts[followers] = self.prompt_index[followed]
            observation, _ = self.env.reset(options={"reset_mask": followers, "prompt_index": prompts})
        episodes = episode_of_slot[slots]
        self.prompt_ids[episodes] = observation["input_ids"][slots]
        self.prompt_mask[episodes] = observation["attention_mask"][slots].astype(bool)
        return observation

    def step(
        self, episodes: Array, slots: Array, tokens: Array, logprobs: Array, rewards: Array, masks: Array | None
    ) -> None:
        at = self.lengths[episodes]
        self.completion_ids[episodes, at] = tokens[slots]
        self.logprobs[episodes, at] = logprobs[slots]
        self.rewards[episodes, at] = rewards[slots]
        if self.action_masks is not None and masks is not None:
            self.action_masks[episodes, at] = masks[slots]
        self.lengths[episodes] += 1

    def end(self, episodes: Array, slots: Array, truncated: Array, info: dict[str, Any]) -> None:
        self.scores[episodes] = info["score"][slots]
        self.truncated[episodes] = truncated[slots]
        if "kl" in info:
            self.kl[episodes] = info["kl"][slots]
        # Paid per episode, the last step's reward is a sum; the environment says how it splits over the tokens.
        if "token_rewards" in info:
            self.rewards[episodes] = info["token_rewards"][slots]

    def rollout(self) -> Rollout:
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
