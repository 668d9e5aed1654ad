"""Another reward beside the one that is trained on."""

from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from textrl_env.agents.callbacks.texts import rollout_texts
from textrl_env.mdp import RewardCallable


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
        prompts, completions = rollout_texts(algorithm.rollout, algorithm.env.task)
        self.logger.record(f"objective/{self.name}", float(np.mean(self.reward(prompts, completions))))
