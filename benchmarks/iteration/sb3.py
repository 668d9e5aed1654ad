"""Stable-Baselines3's PPO on the job, unmodified: on one environment at a time, or on the vector environment.

Its minibatches are of single states, each with its whole text, so that the work per token is another one.

    python -m iteration.sb3 FOLDER naive
"""

import argparse
from pathlib import Path
from typing import Any

from iteration.job import Job
from iteration.turns import Turns
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from textrl_env import KLShaping, TextGenEnv, TextGenVectorEnv
from textrl_env.agents.policy import CausalLMPolicy
from textrl_env.reference import FrozenReference
from textrl_env.reward_models import ModelReward, RewardModel
from textrl_env.sb3 import as_sb3_vec_env


def ppo(kind: str, job: Job) -> PPO:
    """As many tokens, epochs and minibatches a rollout as the job has."""
    size, tokenizer, policy = job.size, job.tokenizer(), job.policy()
    reward = ModelReward(RewardModel(job.classifier("reward_model"), tokenizer))
    reference = FrozenReference(policy, vocab_size=size.vocabulary)
    kl, tokens = KLShaping(size.kl_coef, "reference"), size.completions * size.tokens
    task: tuple[Any, ...] = (job.prompts, reward, tokenizer)
    options: dict[str, Any] = {
        "max_new_tokens": size.tokens,
        "eos_token_ids": [],
        "kl": kl,
        "reference": reference,
    }
    if kind == "naive":
        env: Any = DummyVecEnv([lambda: TextGenEnv(*task, **options)])
    else:
        env = as_sb3_vec_env(TextGenVectorEnv(*task, num_envs=size.completions, autoreset_mode="SameStep", **options))
    return PPO(
        CausalLMPolicy,
        env,
        policy_kwargs={"model": policy},
        n_steps=tokens // env.num_envs,
        batch_size=tokens,
        n_epochs=size.epochs,
        ent_coef=size.kl_coef,
        gamma=1.0,
        learning_rate=size.learning_rate,
        device="cpu",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("kind", choices=("naive", "vector"))
    args = parser.parse_args()
    turns, job = Turns(), Job(args.folder)
    model = ppo(args.kind, job)
    tokens = job.size.completions * job.size.tokens

    def iteration() -> dict[str, Any]:
        model.learn(tokens, reset_num_timesteps=False)
        return {"tokens": tokens}

    turns.ready()
    turns.serve(iteration)


if __name__ == "__main__":
    main()
