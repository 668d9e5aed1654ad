"""Stable-Baselines3's PPO on the small world, unmodified, with the same language model as its policy.

In the environment's KL mode `reference` its actions are plain tokens; the other half of the KL objective is its entropy
bonus, whose weight has that unit only without normalised advantages.
"""

import time
from typing import Any

from learning_curves import WORLD, gap, reference_model
from small_world.files import Setting
from small_world.ours import Measurement
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from textrl_env import KLShaping, TextGenVectorEnv
from textrl_env.agents.policy import CausalLMPolicy
from textrl_env.reference import FrozenReference
from textrl_env.sb3 import as_sb3_vec_env


class Marks(BaseCallback):
    """Counts completions and measures the policy once so many of them have been learnt from."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.setting, self.completions = setting, 0
        self.fractions: list[float] = []
        self.seconds: list[float] = []
        self._measuring = 0.0

    def rate(self, _: float) -> float:
        """The learning rate, by completions: how many tokens they take is not known before."""
        return self.setting.learning_rate * max(0.0, 1 - self.completions / self.setting.marks[-1])

    def _on_training_start(self) -> None:
        self._started = time.process_time()

    def _on_rollout_start(self) -> None:
        while not self._complete and self.completions >= self.setting.marks[len(self.fractions)]:
            now = time.process_time()
            self.seconds.append(now - self._started - self._measuring)
            policy: Any = self.model.policy
            self.fractions.append(gap().measure(policy.lm.policy).fraction)
            self._measuring += time.process_time() - now

    def _on_step(self) -> bool:
        self.completions += int(self.locals["dones"].sum())
        return not self._complete

    @property
    def _complete(self) -> bool:
        return len(self.fractions) == len(self.setting.marks)


def sb3(setting: Setting, seed: int) -> Measurement:
    """Trains to the last mark, in rollouts of as many slots as ours has completions, each as long as the longest."""
    model = reference_model()
    env = TextGenVectorEnv(
        WORLD.prompts,
        WORLD.reward,
        WORLD.tokenizer,
        num_envs=setting.n_episodes,
        autoreset_mode="SameStep",
        max_new_tokens=setting.horizon,
        kl=KLShaping(setting.coef, "reference"),
        reference=FrozenReference(model, vocab_size=WORLD.vocab_size),
    )
    marks = Marks(setting)
    ppo = PPO(
        CausalLMPolicy,
        as_sb3_vec_env(env),
        policy_kwargs={"model": model},
        learning_rate=marks.rate,
        n_steps=setting.horizon,
        batch_size=setting.batch_size * setting.horizon,
        n_epochs=setting.n_epochs,
        gamma=1.0,
        gae_lambda=setting.gae_lambda,
        normalize_advantage=False,
        ent_coef=setting.coef,
        max_grad_norm=1.0,
        seed=seed,
        device="cpu",
    )
    # More tokens than can be needed: `marks` ends it.
    ppo.learn(2 * setting.marks[-1] * setting.horizon, callback=marks)
    return marks.fractions, marks.seconds
