"""PPO of this package on the small world."""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from learning_curves import WORLD, gap, reference_model
from small_world.files import Setting

from textrl_env import KLShaping, TextGenVectorEnv
from textrl_env.agents import PPO, ActorCriticLM
from textrl_env.agents.policy import CriticKind
from textrl_env.reference import FrozenReference

Measurement = tuple[list[float], list[float]]
"""At the marks: the share of the gap that is closed, and the processor seconds that training took until then."""


def ours(setting: Setting, seed: int, *, critic: CriticKind, **options: Any) -> Measurement:
    """Trains to the last mark; `options` of PPO are beside those of the setting."""
    model = reference_model()
    reference = FrozenReference(model, vocab_size=WORLD.vocab_size)
    env = TextGenVectorEnv(
        WORLD.prompts,
        WORLD.reward,
        WORLD.tokenizer,
        num_envs=setting.n_episodes,
        autoreset_mode="Disabled",
        max_new_tokens=setting.horizon,
        kl=KLShaping(setting.coef, "sampled", pay="episode"),
        reference=reference,
    )
    agent = ActorCriticLM(model, vocab_size=WORLD.vocab_size, critic=critic)
    ppo = PPO(
        agent,
        env,
        n_episodes=setting.n_episodes,
        batch_size=setting.batch_size,
        n_epochs=setting.n_epochs,
        gae_lambda=setting.gae_lambda,
        seed=seed,
        **options,
    )
    fractions, seconds, total = [], [], 0.0
    for before, mark in pairwise((0, *setting.marks)):
        ppo.learning_rate = falling_rate(setting, before, mark)
        started = time.process_time()
        ppo.learn(total_updates=(mark - before) // setting.n_episodes)
        total += time.process_time() - started
        fractions.append(gap().measure(model).fraction)
        seconds.append(total)
    return fractions, seconds


def falling_rate(setting: Setting, first: int, last: int) -> Callable[[float], float]:
    """Makes the rate from completion `first` to `last` of a whole run, by the remaining progress between the two."""
    return lambda remaining: setting.learning_rate * (1 - (last - (last - first) * remaining) / setting.marks[-1])
