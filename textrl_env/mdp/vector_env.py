"""The native vector environment: all slots in one process, one reference pass and one reward call for the batch."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self, Unpack

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from textrl_env.data import PromptSource
from textrl_env.data.text import Tokenizer
from textrl_env.errors import ClosedError, InputError, require_count
from textrl_env.mdp.actions import action_masks, check_action
from textrl_env.mdp.episode_state import Observation
from textrl_env.mdp.episodes import EpisodeBatch
from textrl_env.mdp.rendering import check_render_mode, render_episode
from textrl_env.mdp.rewards import RewardSource
from textrl_env.mdp.slots import Slot, mask_info, merge_info, values_of_slots
from textrl_env.mdp.starts import PromptDraws, check_reset_mask
from textrl_env.mdp.task import TaskOptions, TextGenTask

Array = npt.NDArray[Any]


class TextGenVectorEnv(gymnasium.vector.VectorEnv[Observation, Any, Array]):
    """N text-generation episodes side by side; equal to N `TextGenEnv`s with seeds `seed`, `seed + 1`, ….

    Observations, actions and `info` entries are those of `TextGenEnv` with a leading axis N (see there); `info` has
    Gymnasium's `_key` masks. All three autoreset modes: `NEXT_STEP` (default, as in Gymnasium; the step after an end
    resets, its action is ignored, reward 0), `SAME_STEP` (`final_obs` and `final_info`), and `DISABLED`
    (`reset(options={"reset_mask": mask})` restarts slots). In `DISABLED` a finished slot idles until it is reset: its
    action is ignored, its reward 0 and it stays terminated or truncated.

    `np_random`, `np_random_seed`, `call`, `get_attr`, `set_attr` and `render` speak of every slot, in a tuple, as those
    of Gymnasium's SyncVectorEnv do.

    Where `step` or `reset` raises, whatever raised, the episodes are those before the call: it can be repeated.

    Args:
        num_envs: N.
        prompts, reward, tokenizer, **options: as for `TextGenEnv`.
        autoreset_mode: an `AutoresetMode` or its value (`"NextStep"`, `"SameStep"`, `"Disabled"`).
        render_mode: `"ansi"` or `"html"`, for `render()`; None for none.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi", "html"]}  # noqa: RUF012 - Gymnasium's form

    def __init__(
        self,
        prompts: PromptSource,
        reward: RewardSource,
        tokenizer: Tokenizer,
        *,
        num_envs: int = 1,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **options: Unpack[TaskOptions],
    ) -> None:
        require_count(1, num_envs=num_envs)
        self.render_mode = check_render_mode(render_mode, self.metadata["render_modes"])
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.task = TextGenTask(prompts, reward, tokenizer, **options)
        self.num_envs = int(num_envs)
        self.metadata = self.metadata | {"autoreset_mode": self.autoreset_mode}
        self.single_observation_space = self.task.observation_space
        self.single_action_space = self.task.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._episodes = EpisodeBatch(self.task, self.num_envs, keeps_history=render_mode is not None)
        self._draws = PromptDraws(self.task, self.num_envs)
        self._slots = [Slot(self, self._draws, index) for index in range(self.num_envs)]
        self._has_begun = False

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts episodes in all slots, or in those of `options["reset_mask"]`; seeds as in Gymnasium's SyncVectorEnv.

        `options["prompt_index"]` or `options["prompt"]` may hold one value for all slots that start or a sequence of
        N, one a slot.
        """
        self._require_open()
        options = dict(options or {})
        mask = check_reset_mask(options.pop("reset_mask", None), self.num_envs)
        self._begin(mask, options, seed=seed)
        self._has_begun = True
        return self._episodes.state.observation(), self._info(mask)

    def step(self, actions: Any) -> tuple[Observation, Array, Array, Array, dict[str, Any]]:
        """Appends a token in every slot where an episode runs; InputError, and no change, for an impossible action."""
        self._require_open()
        if not self._has_begun:
            raise InputError("step() before reset(): call reset() first")
        episodes = self._episodes
        with episodes.unchanged_on_error():
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

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Returns an attribute of every slot's environment, or what its method returns; see `textrl_env.mdp.slots`."""
        values = [getattr(slot, name) for slot in self._slots]
        return tuple(value(*args, **kwargs) if callable(value) else value for value in values)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Returns an attribute of every slot's environment."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Sets an attribute of every slot's environment: one value for all, or a list or tuple of N."""
        for slot, value in zip(self._slots, values_of_slots(name, values, self.num_envs), strict=True):
            setattr(slot, name, value)

    @property  # type: ignore[override]
    def np_random(self) -> tuple[np.random.Generator, ...]:
        """Every slot's generator."""
        return self.call("np_random")

    @np_random.setter
    def np_random(self, value: Any) -> None:
        self.set_attr("np_random", value)

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seed of every slot's generator; -1 where it is not known."""
        return self.call("np_random_seed")

    def render(self) -> tuple[Any, ...]:
        """Returns every slot's episode so far with its ledger: coloured text (`ansi`) or a strip of HTML (`html`)."""
        return self.call("render")

    def render_slot(self, slot: int) -> str | None:
        """Returns one slot's episode so far; see `render`. None without a `render_mode`."""
        if self.render_mode is None:
            return None
        ledger = self._episodes.token_ledger(slot)
        return render_episode(self._episodes.state.prompt(slot), ledger, render_mode=self.render_mode)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def abandon(self, slots: npt.NDArray[np.bool_]) -> None:
        """Leaves the episodes of the slots marked in (N,) unfinished and unpaid; in DISABLED they idle until reset."""
        self._episodes.abandon(slots)

    def share_prompts(self, index: int, count: int) -> None:
        """Makes slots draw only every `count`-th prompt, from `index` on: the share of one of `count` environments.

        Every slot begins anew with its prompts.

        Raises:
            InputError: there are fewer prompts than `count`.
        """
        self._draws.share(index, count)

    def state(self) -> dict[str, Any]:
        """Returns, for JSON, all that the next episodes depend on.

        It holds each slot's generator and place in its prompts, and `kl_coef`; running episodes are no part of it.
        """
        return {**self._structure, **self._draws.state(), "kl_coef": self.kl_coef}

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
        self._draws.restore(state)
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
        return self._episodes.state.live.copy()

    @property
    def kl_coef(self) -> float:
        """The KL coefficient in force; a controller may change it as episodes finish."""
        return self._episodes.coef

    @kl_coef.setter
    def kl_coef(self, value: float) -> None:
        self._episodes.coef = value

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

    def _require_open(self) -> None:
        if self.closed:
            raise ClosedError("the environment is closed; make a new one")

    def _begin(self, mask: npt.NDArray[np.bool_], options: Mapping[str, Any], *, seed: Any = None) -> None:
        """Starts episodes in the slots marked in (N,)."""
        slots = np.flatnonzero(mask)
        self._episodes.begin(slots, self._draws.start(slots.tolist(), options, seed=seed))

    def _restart(self, ends: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """Starts episodes in the slots whose episode just ended; `info` speaks of these, and `final_…` of those."""
        final_obs = np.full(self.num_envs, None, dtype=object)  # Gymnasium leaves it unbatched.
        for slot in np.flatnonzero(ends).tolist():
            final_obs[slot] = self._episodes.state.observation(slot)
        final_info, running = self._info(ends), self._info(~ends)
        self._begin(ends, {})
        info = merge_info(running, self._info(ends), ends)
        return info | {
            "final_obs": final_obs,
            "_final_obs": ends,
            "final_info": final_info,
            "_final_info": ends.copy(),
        }

    def _info(self, mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """The entries of the slots marked in (N,), with Gymnasium's `_key` masks."""
        info = mask_info(self._episodes.info(), mask)
        terms = mask_info(self._episodes.ledger.terms, mask)
        return info | {"reward_terms": terms, "_reward_terms": mask.copy()}


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        names = ", ".join(repr(name.value) for name in AutoresetMode)
        raise InputError(f"autoreset_mode must be one of {names}, got {mode!r}") from None
