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
from textrl_env.errors import InputError, require_count
from textrl_env.mdp.actions import action_masks, check_action
from textrl_env.mdp.episode_state import Observation, check_reset_mask, choose_start, split_options
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
        require_count(1, num_envs=num_envs)
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
        self._has_begun = False

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts episodes in all slots, or in those of `options["reset_mask"]`; seeds as in Gymnasium's SyncVectorEnv.

        `options["prompt_index"]` or `options["prompt"]` may hold one value for all slots that start or a sequence of
        N, one a slot.
        """
        options = dict(options or {})
        mask = check_reset_mask(options.pop("reset_mask", None), self.num_envs)
        if seed is not None:
            self._seed(seed, np.flatnonzero(mask))
        self._begin(mask, options)
        self._has_begun = True
        return self._episodes.state.observation(), self._info(mask)

    def step(self, actions: Any) -> tuple[Observation, Array, Array, Array, dict[str, Any]]:
        """Appends a token in every slot where an episode runs; InputError, and no change, for an impossible action."""
        if not self._has_begun:
            raise InputError("step() before reset(): call reset() first")
        episodes = self._episodes
        idle = ~episodes.state.live
        ends = episodes.step(check_action(episodes.state, actions))
        rewards, by_limit = episodes.ledger.rewards, episodes.state.truncated
        every_slot = np.ones(self.num_envs, dtype=np.bool_)
        if self.autoreset_mode is AutoresetMode.SAME_STEP and ends.any():
            info = self._restart(ends)
        elif self.autoreset_mode is AutoresetMode.NEXT_STEP and idle.any():
            self._begin(idle, {})
            info = self._info(every_slot)
        else:
            info = self._info(every_slot)
        if self.autoreset_mode is AutoresetMode.DISABLED:
            ends = ~episodes.state.live
        return episodes.state.observation(), rewards, ends & ~by_limit, ends & by_limit, info

    def abandon(self, slots: npt.NDArray[np.bool_]) -> None:
        """Leaves the episodes of the slots marked in (N,) unfinished and unpaid; in DISABLED they idle until reset."""
        self._episodes.abandon(slots)

    def share_prompts(self, index: int, count: int) -> None:
        """Makes slots draw only every `count`-th prompt, from `index` on: the share of one of `count` environments.

        Every slot begins anew with its prompts.

        Raises:
            InputError: there are fewer prompts than `count`.
        """
        self._share = (index, count)
        self._orders = [self.task.new_order(index, count) for _ in range(self.num_envs)]

    def state(self) -> dict[str, Any]:
        """Returns, for JSON, all that the next episodes depend on.

        It holds each slot's generator and place in its prompts, and `kl_coef`; running episodes are no part of it.
        """
        return {
            **self._structure,
            "generators": [rng.bit_generator.state for rng in self._rngs],
            "orders": [order.state() for order in self._orders],
            "kl_coef": self.kl_coef,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Makes episodes start as they would have after `state()`; those that run are abandoned.

        Go on with `reset()`, without a seed.

        Raises:
            InputError: the state is of other slots or prompts.
        """
        for name, value in self._structure.items():
            if state[name] != value:
                raise InputError(
                    f"the state is of an environment with {name} {state[name]!r}, this one has {value!r}; "
                    "make the environment as it was"
                )
        for rng, generator in zip(self._rngs, state["generators"], strict=True):
            rng.bit_generator.state = generator
        for order, place in zip(self._orders, state["orders"], strict=True):
            order.restore(place)
        self._episodes.abandon(np.ones(self.num_envs, dtype=np.bool_))
        self._has_begun = False
        self.kl_coef = state["kl_coef"]

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Returns (N, K), True where an action may be chosen now."""
        return action_masks(self._episodes.state)

    @property
    def masks_actions(self) -> bool:
        """True where `action_masks()` may forbid a token."""
        return self.task.masks_actions

    @property
    def live(self) -> npt.NDArray[np.bool_]:
        """(N,), True where an episode runs."""
        return self._episodes.state.live

    @property
    def kl_coef(self) -> float:
        """The KL coefficient in force; a controller may change it as episodes finish."""
        return self._episodes.coef

    @kl_coef.setter
    def kl_coef(self, value: float) -> None:
        self._episodes.coef = float(value)

    @contextmanager
    def hold_kl_coef(self) -> Iterator[None]:
        """Keeps finished episodes from changing `kl_coef`, for a caller that knows them all and calls `control_kl`."""
        self._episodes.controls_kl = False
        try:
            yield
        finally:
            self._episodes.controls_kl = True

    def control_kl(self, *, kl: float, episodes: int) -> None:
        """Lets the controller change `kl_coef` after `episodes` with a mean KL of `kl` nats each."""
        self._episodes.control_kl(kl=kl, episodes=episodes)

    @property
    def _structure(self) -> dict[str, Any]:
        """The part that another environment must have in common for a state to fit."""
        return {"num_envs": self.num_envs, "n_prompts": len(self.task.prompts), "prompt_order": self.task.prompt_order}

    def _seed(self, seed: int | Sequence[int | None], slots: npt.NDArray[np.int64]) -> None:
        """Gives slots new generators, and lets them begin anew with their prompts."""
        seeds = [seed + slot for slot in range(self.num_envs)] if isinstance(seed, int) else list(seed)
        if len(seeds) != self.num_envs:
            raise InputError(f"seed must be one integer or {self.num_envs} of them, got {len(seeds)}")
        for slot in slots:
            if seeds[slot] is not None:
                self._rngs[slot] = seeding.np_random(seeds[slot])[0]
                self._orders[slot] = self.task.new_order(*self._share)

    def _begin(self, mask: npt.NDArray[np.bool_], options: dict[str, Any]) -> None:
        """Starts episodes in the slots marked in (N,)."""
        slots, slot_options = np.flatnonzero(mask), split_options(options, self.num_envs)
        starts = [choose_start(self.task, slot_options[slot], self._orders[slot], self._rngs[slot]) for slot in slots]
        self._episodes.begin(slots, starts)

    def _restart(self, ends: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """Starts episodes in the slots whose episode just ended; `info` speaks of these, and `final_…` of those."""
        final_obs = np.full(self.num_envs, None, dtype=object)  # Gymnasium leaves it unbatched.
        for slot in np.flatnonzero(ends).tolist():
            final_obs[slot] = self._episodes.state.observation(slot)
        final_info, running = self._info(ends), self._info(~ends)
        self._begin(ends, {})
        info = _merge_info(running, self._info(ends), ends)
        return info | {
            "final_obs": final_obs,
            "_final_obs": ends,
            "final_info": final_info,
            "_final_info": ends.copy(),
        }

    def _info(self, mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """The entries of the slots marked in (N,), with Gymnasium's `_key` masks."""
        info = _mask_info(self._episodes.info(), mask)
        terms = _mask_info(self._episodes.ledger.terms, mask)
        return info | {"reward_terms": terms, "_reward_terms": mask.copy()}


def _mask_info(arrays: Mapping[str, Array], mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Copies of the arrays, each with Gymnasium's `_key` mask of the slots it speaks of, 0 or None elsewhere."""
    info: dict[str, Any] = {}
    all_slots = bool(mask.all())
    for key, values in arrays.items():
        info[f"_{key}"] = mask.copy()
        if all_slots:
            info[key] = values.copy()
        else:
            empty: Any = None if values.dtype == object else np.zeros((), dtype=values.dtype)
            info[key] = np.where(_expand(mask, values.ndim), values, empty)
    return info


def _merge_info(old: dict[str, Any], new: dict[str, Any], mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Slot-wise `new` where `mask`, else `old`, through nested entries."""
    info: dict[str, Any] = {}
    for key, value in new.items():
        if isinstance(value, dict):
            info[key] = _merge_info(old[key], value, mask)
        elif key.startswith("_"):
            info[key] = old[key] | value
        else:
            info[key] = np.where(_expand(mask, value.ndim), value, old[key])
    return info


def _expand(mask: npt.NDArray[np.bool_], ndim: int) -> npt.NDArray[np.bool_]:
    """(N,) as (N, 1, …, 1) with `ndim` axes."""
    return mask.reshape(-1, *[1] * (ndim - 1))
