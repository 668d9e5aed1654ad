"""The native vector environment: all slots in one process, one reference pass and one reward call for the batch."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Unpack

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from textrl_env.data import PromptSource
from textrl_env.data.text import Tokenizer
from textrl_env.errors import InputError, require_at_least
from textrl_env.mdp.env import Observation, choose_prompt, info_arrays
from textrl_env.mdp.episodes import EpisodeBatch
from textrl_env.mdp.rewards import RewardSource
from textrl_env.mdp.task import TaskOptions, TextGenTask

Array = npt.NDArray[Any]


class TextGenVectorEnv(gymnasium.vector.VectorEnv[Observation, Any, Array]):
    """N text-generation episodes side by side; equal to N `TextGenEnv`s with seeds `seed`, `seed + 1`, ….

    Observations, actions and `info` entries are those of `TextGenEnv` with a leading axis N (see there); `info` has
    Gymnasium's `_key` masks. All three autoreset modes: `SAME_STEP` (default; `final_obs` and `final_info`),
    `NEXT_STEP` (the step after an end resets, its action is ignored, reward 0), and `DISABLED`
    (`reset(options={"reset_mask": mask})` restarts slots). In `DISABLED` a finished slot idles until it is reset: its
    action is ignored, its reward 0 and it stays terminated or truncated.

    Args:
        num_envs: N.
        prompts, reward, tokenizer, **options: as for `TextGenEnv`.
        autoreset_mode: an `AutoresetMode` or its value (`"SameStep"`, `"NextStep"`, `"Disabled"`).
    """

    def __init__(
        self,
        prompts: PromptSource,
        reward: RewardSource,
        tokenizer: Tokenizer,
        *,
        num_envs: int = 1,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        **options: Unpack[TaskOptions],
    ) -> None:
        require_at_least(1, num_envs=num_envs)
        self.task = TextGenTask(prompts, reward, tokenizer, **options)
        self.num_envs = num_envs
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {"render_modes": [], "autoreset_mode": self.autoreset_mode}
        self.single_observation_space = self.task.observation_space
        self.single_action_space = self.task.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._episodes = EpisodeBatch(self.task, num_envs)
        self._rngs: list[np.random.Generator] = [seeding.np_random(None)[0] for _ in range(num_envs)]
        self._share = (0, 1)
        self._orders = [self.task.new_order() for _ in range(num_envs)]
        self._started = False

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts episodes in all slots, or in those of `options["reset_mask"]`; seeds as in Gymnasium's SyncVectorEnv.

        `options["prompt_index"]` or `options["prompt"]` may hold one value for all slots that start or a sequence of
        N, one a slot.
        """
        options = dict(options or {})
        mask = self._reset_mask(options.pop("reset_mask", None))
        if seed is not None:
            seeds = [seed + slot for slot in range(self.num_envs)] if isinstance(seed, int) else list(seed)
            if len(seeds) != self.num_envs:
                raise InputError(f"seed must be one integer or {self.num_envs} of them, got {len(seeds)}")
            for slot in np.flatnonzero(mask):
                if seeds[slot] is not None:
                    self._rngs[slot] = seeding.np_random(seeds[slot])[0]
                    self._orders[slot] = self.task.new_order(*self._share)
        self._begin(np.flatnonzero(mask), options)
        self._started = True
        return self._observation(), self._info(mask)

    def step(self, actions: Any) -> tuple[Observation, Array, Array, Array, dict[str, Any]]:
        if not self._started:
            raise InputError("step() before reset(): call reset() first")
        episodes = self._episodes
        idle = ~episodes.live
        ended = episodes.step(episodes.check(actions))
        rewards, cut = episodes.rewards, episodes.truncated
        terminated, truncated = ended & ~cut, ended & cut
        every = np.ones(self.num_envs, dtype=np.bool_)
        if self.autoreset_mode is AutoresetMode.NEXT_STEP and idle.any():
            self._begin(np.flatnonzero(idle), {})
            return self._observation(), rewards, terminated, truncated, self._info(every)
        if self.autoreset_mode is AutoresetMode.SAME_STEP and ended.any():
            final = self._final_observations(ended)
            final_info = self._info(ended)
            running = self._info(~ended)
            self._begin(np.flatnonzero(ended), {})
            info = _merge(running, self._info(ended), ended)
            info |= {"final_obs": final, "_final_obs": ended, "final_info": final_info, "_final_info": ended.copy()}
            return self._observation(), rewards, terminated, truncated, info
        if self.autoreset_mode is AutoresetMode.DISABLED:
            finished = ~episodes.live
            terminated, truncated = finished & ~cut, finished & cut
        return self._observation(), rewards, terminated, truncated, self._info(every)

    def abandon(self, slots: npt.NDArray[np.bool_]) -> None:
        """Leaves the episodes of the slots marked in (N,) unfinished and unpaid; in DISABLED they idle until reset."""
        self._episodes.abandon(slots)

    def share_prompts(self, index: int, count: int) -> None:
        """From here on slots draw only every `count`-th prompt, from `index` on: what `count` environments share out.

        Every slot begins anew with its prompts. InputError where there are fewer than `count`.
        """
        self._share = (index, count)
        self._orders = [self.task.new_order(index, count) for _ in range(self.num_envs)]

    def state(self) -> dict[str, Any]:
        """What the next episodes depend on, for JSON: each slot's generator and place in its prompts, and `kl_coef`.

        Running episodes are no part of it.
        """
        return {
            **self._made_of,
            "generators": [rng.bit_generator.state for rng in self._rngs],
            "orders": [order.state() for order in self._orders],
            "kl_coef": self.kl_coef,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """From here on episodes start as they would have after `state()`; those that run are abandoned.

        Go on with `reset()`, without a seed. InputError where the state is of other slots or prompts.
        """
        for name, value in self._made_of.items():
            if state[name] != value:
                raise InputError(
                    f"the state is of an environment with {name} {state[name]!r}, this one has {value!r}; "
                    "make the environment as it was"
                )
        for rng, saved in zip(self._rngs, state["generators"], strict=True):
            rng.bit_generator.state = saved
        for order, place in zip(self._orders, state["orders"], strict=True):
            order.restore(place)
        self._episodes.abandon(np.ones(self.num_envs, dtype=np.bool_))
        self._started = False
        self.kl_coef = state["kl_coef"]

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """(N, K), True where an action may be chosen now."""
        return self._episodes.action_masks()

    @property
    def masks_actions(self) -> bool:
        """Whether `action_masks()` ever forbids a token."""
        return self.task.masks_actions

    @property
    def live(self) -> npt.NDArray[np.bool_]:
        """(N,), True where an episode runs."""
        return self._episodes.live

    @property
    def kl_coef(self) -> float:
        """The KL coefficient in force; a controller may change it as episodes finish."""
        return self._episodes.coef

    @kl_coef.setter
    def kl_coef(self, value: float) -> None:
        self._episodes.coef = float(value)

    @contextmanager
    def kl_coef_held(self) -> Iterator[None]:
        """Within, finished episodes leave `kl_coef` as it is; what is known of them all is for `control_kl`."""
        self._episodes.controls_kl = False
        try:
            yield
        finally:
            self._episodes.controls_kl = True

    def control_kl(self, *, kl: float, episodes: int) -> None:
        """Lets the controller change `kl_coef` after `episodes` with a mean KL of `kl` nats each."""
        self._episodes.control_kl(kl=kl, episodes=episodes)

    @property
    def _made_of(self) -> dict[str, Any]:
        """What another environment must have in common for a state to fit."""
        return {"num_envs": self.num_envs, "n_prompts": len(self.task.prompts), "prompt_order": self.task.prompt_order}

    def _reset_mask(self, mask: Any) -> npt.NDArray[np.bool_]:
        if mask is None:
            return np.ones(self.num_envs, dtype=np.bool_)
        if (
            not isinstance(mask, np.ndarray)
            or mask.dtype != np.bool_
            or mask.shape != (self.num_envs,)
            or not mask.any()
        ):
            raise InputError(
                f"reset_mask must be a bool array of shape ({self.num_envs},), some True; got {mask!r:.200}"
            )
        return mask

    def _begin(self, slots: npt.NDArray[np.int64], options: dict[str, Any]) -> None:
        for key, value in options.items():
            if _one_a_slot(value) and len(value) != self.num_envs:
                raise InputError(f"reset option {key!r} must be one value or {self.num_envs} of them, got {len(value)}")
        starts = []
        for slot in slots:
            mine = {key: value[slot] if _one_a_slot(value) else value for key, value in options.items()}
            starts.append(choose_prompt(self.task, self._orders[slot], self._rngs[slot], mine))
        self._episodes.begin(slots, starts)

    def _observation(self) -> Observation:
        return {
            "input_ids": self._episodes.input_ids.copy(),
            "attention_mask": self._episodes.attention_mask.copy(),
        }

    def _final_observations(self, ended: npt.NDArray[np.bool_]) -> Array:
        """(N,) the ended slots' observations, None elsewhere: Gymnasium leaves `final_obs` unbatched."""
        observation, final = self._observation(), np.full(self.num_envs, None, dtype=object)
        for slot in np.flatnonzero(ended):
            final[slot] = {key: values[slot].copy() for key, values in observation.items()}
        return final

    def _info(self, mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
        info = _masked(info_arrays(self._episodes), mask)
        ledger = _masked(self._episodes.terms, mask)
        return info | {"reward_terms": ledger, "_reward_terms": mask.copy()}


def _one_a_slot(value: Any) -> bool:
    """Whether a reset option is a sequence over slots; a conversation, a list of messages, is one prompt for all."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, list | tuple) and not any(isinstance(entry, Mapping) for entry in value)


def _masked(arrays: dict[str, Any], mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Copies of the arrays, each with Gymnasium's `_key` mask of the slots it speaks of, 0 or None elsewhere."""
    out: dict[str, Any] = {}
    every = bool(mask.all())
    for key, values in arrays.items():
        out[f"_{key}"] = mask.copy()
        if every:
            out[key] = values.copy()
            continue
        empty = None if values.dtype == object else np.zeros((), dtype=values.dtype)
        shaped = mask.reshape(-1, *[1] * (values.ndim - 1))
        out[key] = np.where(shaped, values, empty)
    return out


def _merge(old: dict[str, Any], new: dict[str, Any], mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Slot-wise `new` where `mask`, else `old`, through nested entries."""
    merged: dict[str, Any] = {}
    for key, value in new.items():
        if isinstance(value, dict):
            merged[key] = _merge(old[key], value, mask)
        elif key.startswith("_"):
            merged[key] = old[key] | value
        else:
            merged[key] = np.where(mask.reshape(-1, *[1] * (value.ndim - 1)), value, old[key])
    return merged
