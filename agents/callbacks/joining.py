"""Whatever `learn` is given as a callback, as one callback."""

from collections.abc import Callable
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback

from textrl_env.agents.callbacks.progress import ShowProgress

MaybeCallback = None | BaseCallback | list[BaseCallback] | Callable[[dict[str, Any], dict[str, Any]], bool]


def as_callback(callback: MaybeCallback, *, progress_bar: bool) -> BaseCallback:
    """One callback of whatever `learn` was given: none, one, several, or a function of locals and globals."""
    if isinstance(callback, list):
        callback = CallbackList(callback)
    if not isinstance(callback, BaseCallback):
        callback = ConvertCallback(callback) if callback is not None else CallbackList([])
    return CallbackList([callback, ShowProgress()]) if progress_bar else callback
