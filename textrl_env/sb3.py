"""The vector environment as Stable-Baselines3's VecEnv."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv

from textrl_env.errors import InputError
from textrl_env.mdp import TextGenVectorEnv


def as_sb3_vec_env(env: TextGenVectorEnv) -> "SB3TextGenVecEnv":
    """Adapts a vector environment to SB3; it must reset in the same step, and have actions that SB3 knows."""
    return SB3TextGenVecEnv(env)


class SB3TextGenVecEnv(VecEnv):
    """`stable_baselines3.common.vec_env.VecEnv` over a `TextGenVectorEnv`.

    `infos` are SB3's list of dicts: each holds the finished episode's `info` where one ended, with
    `terminal_observation` and `TimeLimit.truncated`, else the running episode's.

    Raises:
        InputError: another environment or autoreset mode, or KL shaping whose actions are not plain tokens.
    """

    def __init__(self, env: TextGenVectorEnv) -> None:
        if not isinstance(env, TextGenVectorEnv):
            raise InputError(
                f"expected a TextGenVectorEnv, got {type(env).__name__}; Stable-Baselines3 takes a single environment "
                "as it is, and gymnasium.make_vec makes a vector environment, whose `unwrapped` is this one"
            )
        if env.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise InputError("Stable-Baselines3 needs autoreset_mode='SameStep'")
        if env.task.kl is not None and env.task.kl.mode != "reference":
            raise InputError(
                f"Stable-Baselines3 cannot send the actions of KL mode {env.task.kl.mode!r}; use 'reference'"
            )
        # Before the base class, which asks the environment for its render mode.
        self.env = env
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self._seed: int | None = None

    def reset(self) -> Any:
        """Starts an episode in every slot and returns the observations; their `info` is in `reset_infos`."""
        observation, info = self.env.reset(seed=self._seed)
        self._seed = None
        self.reset_infos = _split_info(info, self.num_envs)
        return observation

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seeds the next reset; slot i gets `seed + i`."""
        self._seed = seed
        return [None if seed is None else seed + slot for slot in range(self.num_envs)]

    def step_async(self, actions: np.ndarray) -> None:
        """Takes the (N,) actions of the next `step_wait`."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Steps; returns observations, rewards (N,) float32, dones (N,) and N infos, as SB3 has them."""
        observation, rewards, terminated, truncated, info = self.env.step(self._actions)
        dones = terminated | truncated
        infos = _split_info(info, self.num_envs)
        if dones.any():
            final_infos, final_observations = _split_info(info["final_info"], self.num_envs), info["final_obs"]
            for slot in np.flatnonzero(dones):
                infos[slot] = final_infos[slot]
                infos[slot]["terminal_observation"] = final_observations[slot]
                infos[slot]["TimeLimit.truncated"] = bool(truncated[slot])
        return observation, rewards.astype(np.float32), dones, infos

    def action_masks(self) -> np.ndarray:
        """Returns (N, V), True where a token may be chosen now; sb3-contrib's MaskablePPO asks for it."""
        return self.env.action_masks()

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Returns an attribute of the environment, once a slot."""
        return [getattr(self.env, attr_name)] * len(self._slots(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Sets an attribute of the environment, for all slots."""
        setattr(self.env, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Calls a method of the environment; returns the rows of its result that belong to the slots."""
        result = getattr(self.env, method_name)(*args, **kwargs)
        return [result[slot] for slot in self._slots(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Returns False, once a slot: the vector environment has no wrappers of single ones."""
        return [False] * len(self._slots(indices))

    def _slots(self, indices: Any) -> list[int]:
        return list(self._get_indices(indices))


def _split_info(info: dict[str, Any], n: int) -> list[dict[str, Any]]:
    """A dict for each of n slots, from Gymnasium's dict of arrays; nested entries are split, too."""
    infos: list[dict[str, Any]] = [{} for _ in range(n)]
    for key, values in info.items():
        if key.startswith(("_", "final_")):
            continue
        parts = _split_info(values, n) if isinstance(values, dict) else values
        for slot in range(n):
            infos[slot][key] = parts[slot]
    return infos
