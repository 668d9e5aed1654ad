"""Slots of a vector environment: each as Gymnasium's `call` and `set_attr` see it, and all of them in its `info`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from textrl_env.errors import InputError
from textrl_env.mdp.starts import UNKNOWN_SEED, PromptDraws

Array = npt.NDArray[Any]


class Slot:
    """What a `TextGenEnv` in the slot's place would say of itself; `step` and `reset` are the vector environment's.

    Attributes that are set from outside belong to the slot; `kl_coef` is one for all slots.

    Args:
        env: the `TextGenVectorEnv`.
        draws: its generators.
        index: the slot's.
    """

    def __init__(self, env: Any, draws: PromptDraws, index: int) -> None:
        self.env, self.index, self._draws = env, index, draws

    @property
    def task(self) -> Any:
        """The rules."""
        return self.env.task

    @property
    def observation_space(self) -> Any:
        """The space of one observation."""
        return self.env.single_observation_space

    @property
    def action_space(self) -> Any:
        """The space of one action."""
        return self.env.single_action_space

    @property
    def metadata(self) -> Any:
        """The vector environment's."""
        return self.env.metadata

    @property
    def spec(self) -> Any:
        """The vector environment's `EnvSpec`, or None."""
        return self.env.spec

    @property
    def render_mode(self) -> Any:
        """The vector environment's."""
        return self.env.render_mode

    @property
    def np_random(self) -> np.random.Generator:
        """The generator of the slot's prompts."""
        return self._draws.generators[self.index]

    @np_random.setter
    def np_random(self, value: np.random.Generator) -> None:
        self._draws.generators[self.index] = value
        self._draws.seeds[self.index] = UNKNOWN_SEED

    @property
    def np_random_seed(self) -> int:
        """The seed of that generator; -1 where it is not known."""
        return self._draws.seeds[self.index]

    @property
    def kl_coef(self) -> Any:
        """The KL coefficient in force."""
        return self.env.kl_coef

    @kl_coef.setter
    def kl_coef(self, value: float) -> None:
        self.env.kl_coef = value

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Returns (K,), True where an action may be chosen now."""
        masks: npt.NDArray[np.bool_] = self.env.action_masks()[self.index]
        return masks

    def render(self) -> Any:
        """Returns the slot's episode so far, as `TextGenEnv.render` does."""
        return self.env.render_slot(self.index)


def values_of_slots(name: str, values: Any, n: int) -> list[Any]:
    """Returns the value of each of n slots, as `set_attr` takes them: a list or tuple of n, or one for all.

    Raises:
        InputError: another number of them, or several of an attribute that all slots share.
    """
    if not isinstance(values, list | tuple):
        values = [values] * n
    if len(values) != n:
        raise InputError(f"{name} must be one value or {n} of them, one a slot, got {len(values)}")
    if name == "kl_coef" and len(set(values)) > 1:
        raise InputError(f"all slots have the same kl_coef, got {values!r:.80}")
    return list(values)


def mask_info(arrays: Mapping[str, Array], mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Copies the arrays, each with Gymnasium's `_key` mask of the slots it speaks of, 0 or None elsewhere."""
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


def merge_info(old: dict[str, Any], new: dict[str, Any], mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Returns slot-wise `new` where `mask`, else `old`, through nested entries."""
    info: dict[str, Any] = {}
    for key, value in new.items():
        if isinstance(value, dict):
            info[key] = merge_info(old[key], value, mask)
        elif key.startswith("_"):
            info[key] = old[key] | value
        else:
            info[key] = np.where(_expand(mask, value.ndim), value, old[key])
    return info


def _expand(mask: npt.NDArray[np.bool_], ndim: int) -> npt.NDArray[np.bool_]:
    """(N,) as (N, 1, …, 1) with `ndim` axes."""
    return mask.reshape(-1, *[1] * (ndim - 1))
