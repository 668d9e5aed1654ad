"""Callbacks for `learn`, in Stable-Baselines3's form."""

from collections.abc import Callable
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback, ProgressBarCallback

from textrl_env.conversations import as_completion
from textrl_env.progress import progress_columns
from textrl_env.rewards import RewardCallable

MaybeCallback = None | BaseCallback | list[BaseCallback] | Callable[[dict[str, Any], dict[str, Any]], bool]


def as_callback(callback: MaybeCallback, *, progress_bar: bool) -> BaseCallback:
    """One callback of whatever `learn` was given: none, one, several, or a function of locals and globals."""
    if isinstance(callback, list):
        callback = CallbackList(callback)
    if not isinstance(callback, BaseCallback):
        callback = ConvertCallback(callback) if callback is not None else CallbackList([])
    return CallbackList([callback, ProgressBarCallback()]) if progress_bar else callback


class TrackReward(BaseCallback):
    """Logs the mean of another reward function on every rollout, as `objective/NAME`; training never sees it.

    With the gold reward of a world beside the proxy that is trained on, over-optimisation shows in the curves.

    Args:
        name: of the tag.
        reward: a reward function; it receives prompts and completions.
    """

    def __init__(self, name: str, reward: RewardCallable) -> None:
        super().__init__()
        self.name, self.reward = name, reward

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        algorithm: Any = self.model
        rollout, task = algorithm.rollout, algorithm.env.task
        prompts = [task.prompts.prompts[index] for index in rollout.prompt_index.tolist()]
        completions = [
            as_completion(prompt, task.tokenizer.decode(ids[mask].tolist(), skip_special_tokens=True))
            for prompt, ids, mask in zip(prompts, rollout.completion_ids, rollout.completion_mask, strict=True)
        ]
        self.logger.record(f"objective/{self.name}", float(np.mean(self.reward(prompts, completions))))


class ShowProgress(BaseCallback):
    """A progress bar over updates, with the time left, the score and the KL."""

    def __init__(self, total_updates: int) -> None:
        super().__init__()
        self.total_updates = total_updates

    def _on_training_start(self) -> None:
        self._bar = progress_columns()
        done: int = self.model.n_updates  # type: ignore[attr-defined]
        self._task = self._bar.add_task(type(self.model).__name__, total=self.total_updates, completed=done, note="")
        self._bar.start()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        algorithm: Any = self.model
        rollout = algorithm.rollout
        note = f"score {float(rollout.scores.mean()):+.2f}  KL {round(float(rollout.kl.mean()), 1) + 0.0:.1f}"
        self._bar.update(self._task, completed=algorithm.n_updates + 1, note=note)

    def _on_training_end(self) -> None:
        self._bar.stop()
