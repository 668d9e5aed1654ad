"""Stock Stable-Baselines3 PPO on the text environment, unmodified.

The task: write letters in alphabetical order. You will see SB3's own log and the mean return before and after.
Takes about 15 seconds on a CPU core.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import tyro
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor

from textrl_env import TextGenVectorEnv
from textrl_env.sb3 import as_sb3_vec_env
from textrl_env.worlds.enumerable import LetterTokenizer


@dataclass(frozen=True)
class Args:
    """Options of the example."""

    total_timesteps: int = 40_000
    """Tokens to train on."""
    num_envs: int = 16
    """Episodes side by side."""
    seed: int = 0
    """Of everything random."""


def in_order(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
    """How many neighbours are in alphabetical order, minus how many are not."""
    return [float(sum(1 if left < right else -1 for left, right in pairwise(text))) for text in completions]


def main(args: Args) -> dict[str, float]:
    """Trains and returns the mean return before and after."""
    env = as_sb3_vec_env(
        TextGenVectorEnv(["a", "b"], in_order, LetterTokenizer(8), num_envs=args.num_envs, max_new_tokens=6)
    )
    monitored = VecMonitor(env)
    model = PPO("MultiInputPolicy", monitored, n_steps=128, ent_coef=0.01, seed=args.seed, device="cpu", verbose=1)
    before = np.mean(evaluate_policy(model, monitored, n_eval_episodes=64)[0])
    model.learn(args.total_timesteps)
    after = np.mean(evaluate_policy(model, monitored, n_eval_episodes=64)[0])
    print(f"mean return {before:+.2f} before, {after:+.2f} after; the best possible is +5")
    return {"before": float(before), "after": float(after)}


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
