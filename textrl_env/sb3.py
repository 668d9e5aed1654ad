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
        InputError: another autoreset mode than SAME_STEP, or KL shaping whose actions are not plain tokens.
    """

    def __init__(self, env: TextGenVectorEnv) -> None:
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
        observation, info = self.env.reset(seed=self._seed)
        self._seed = None
        self.reset_infos = _rows(info, self.num_envs)
        return observation

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seeds the next reset; slot i gets `seed + i`."""
        self._seed = seed
        return [None if seed is None else seed + slot for slot in range(self.num_envs)]

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> Any:
        observation, rewards, terminated, truncated, info = self.env.step(self._actions)
        done = terminated | truncated
        infos = _rows(info, self.num_envs)
        if done.any():
            ended, last = _rows(info["final_info"], self.num_envs), info["final_obs"]
            for slot in np.flatnonzero(done):
                infos[slot] = ended[slot]
                infos[slot]["terminal_observation"] = last[slot]
                infos[slot]["TimeLimit.truncated"] = bool(truncated[slot])
        return observation, rewards.astype(np.float32), done, infos

    def action_masks(self) -> np.ndarray:
        """(N, V), True where a token may be chosen now."""
        return self.env.action_masks()

    def close(self) -> None:
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self.env, attr_name)] * len(self._slots(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        setattr(self.env, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        result = getattr(self.env, method_name)(*args, **kwargs)
        return [result[slot] for slot in self._slots(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        return [False] * len(self._slots(indices))

    def _slots(self, indices: Any) -> list[int]:
        return list(self._get_indices(indices))


def _rows(info: dict[str, Any], n: int) -> list[dict[str, Any]]:
    """One dict a slot from Gymnasium's dict of arrays, through nested entries."""
    rows: list[dict[str, Any]] = [{} for _ in range(n)]
    for key, values in info.items():
        if key.startswith("_") or key.startswith("final_"):
            continue
        parts = _rows(values, n) if isinstance(values, dict) else values
        for slot in range(n):
            rows[slot][key] = parts[slot]
    return rows
