"""A check that an algorithm is right: PPO, and the same PPO with a fault, on five tiny worlds with exact answers.

You will see two tables. With seed 0, PPO passes every rung with a regret of at most 0.018; without credit through time
(gamma and gae_lambda near 0) it passes the bandit and falls at "delayed credit", where it stays at 0.213 ± 0.018 of 1,
the random policy's 0.200. `make_sb3` shows that a stock Stable-Baselines3 model is checked the same way.
Takes about 45 seconds of one CPU core.
"""

from dataclasses import dataclass, replace
from typing import Any

import tyro
from stable_baselines3 import PPO as SB3PPO

from textrl_env import TextGenVectorEnv
from textrl_env.agent_checker import LADDER, check_agent
from textrl_env.agents import PPO, ActorCriticLM, small_llama
from textrl_env.reference import FrozenReference
from textrl_env.sb3 import as_sb3_vec_env


@dataclass(frozen=True)
class Args:
    """Options of the example."""

    budget: float = 1.0
    """Times the tokens that the rungs allow."""
    seed: int = 0
    """Seed of everything random."""


def make_ppo(env: TextGenVectorEnv, seed: int, **options: Any) -> PPO:
    """Makes PPO on a Llama of width 32; for an environment in autoreset mode Disabled with KL mode sampled.

    Where the environment charges no KL, a KL term in the loss holds the policy near its start: without one it can
    settle on a good answer before it has found the best.
    """
    tokenizer = env.task.tokenizer
    model = small_llama(tokenizer, hidden_size=32, heads=2, seed=seed)
    policy = ActorCriticLM(model, vocab_size=len(tokenizer), critic="shared")
    defaults: dict[str, Any] = {
        "learning_rate": lambda remaining: 3e-3 * remaining,
        "n_episodes": env.num_envs,
        "gae_lambda": 1.0,
        "normalize_advantage": False,
        "kl_loss_coef": 0.0 if env.kl_coef else 0.05,
        "reference": FrozenReference(model, vocab_size=len(tokenizer)),
        "seed": seed,
    }
    return PPO(policy, env, **defaults | options)


def make_sb3(env: TextGenVectorEnv, seed: int) -> SB3PPO:
    """Makes stock SB3 PPO, for `check_agent(make_sb3)`; its entropy bonus of weight kl_coef completes the objective."""
    return SB3PPO("MultiInputPolicy", as_sb3_vec_env(env), gamma=1.0, ent_coef=env.kl_coef, seed=seed, device="cpu")


def main(args: Args) -> dict[str, int]:
    """Checks the two and returns the number of rungs that they failed."""
    ladder = [replace(rung, timesteps=max(1, round(rung.timesteps * args.budget))) for rung in LADDER]
    n_failures = {}
    for name, options in (("ppo", {}), ("ppo without credit through time", {"gamma": 1e-6, "gae_lambda": 0.0})):
        print(name)
        report = check_agent(
            lambda env, seed, options=options: make_ppo(env, seed, **options),  # type: ignore[misc]
            seed=args.seed,
            ladder=ladder,
            num_envs=128,
            autoreset_mode="Disabled",
            kl_mode="sampled",
        )
        n_failures[name] = len(report.failed)
    return n_failures


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
