"""PPO of an actor-critic language model on a reward function of your own, from nothing.

The reward is a few lines of Python: how many letters of the completion are in alphabetical order. You will see the
score rise, and the KL to the starting model with it: a larger `--kl-coef` keeps it smaller.
Takes about 15 seconds on a CPU core.

On several processes: accelerate launch --config_file examples/accelerate/cpu.yaml examples/train_ppo.py
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import tyro

from textrl_env import KLShaping, TextGenVectorEnv
from textrl_env.agents import PPO, ActorCriticLM, small_llama
from textrl_env.reference import FrozenReference
from textrl_env.worlds import LetterTokenizer


@dataclass(frozen=True)
class Args:
    """Options of the example."""

    n_updates: int = 60
    """Updates of the policy."""
    n_episodes: int = 64
    """Completions per update."""
    kl_coef: float = 0.05
    """Score given up per nat of KL to the starting model."""
    log_dir: Path = Path("runs/examples/ppo")
    """TensorBoard, CSV, JSON lines and the checkpoint."""
    seed: int = 0
    """Of everything random."""


def in_order(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
    """How many neighbours are in alphabetical order, minus how many are not."""
    return [float(sum(1 if left < right else -1 for left, right in pairwise(text))) for text in completions]


def main(args: Args) -> dict[str, float]:
    """Trains and returns the mean score of the last update."""
    tokenizer = LetterTokenizer(12)
    policy = ActorCriticLM(small_llama(tokenizer, hidden_size=64, seed=args.seed), vocab_size=len(tokenizer))
    env = TextGenVectorEnv(
        ["ab", "cd", "ef", "gh"],
        in_order,
        tokenizer,
        num_envs=args.n_episodes,
        autoreset_mode="Disabled",
        max_new_tokens=10,
        kl=KLShaping(args.kl_coef, mode="sampled", pay="episode"),
        reference=FrozenReference(policy.policy, vocab_size=len(tokenizer)),
    )
    ppo = PPO(policy, env, learning_rate=1e-3, n_episodes=args.n_episodes, log_dir=args.log_dir, seed=args.seed)
    stops = sorted({-(-args.n_updates * part // 6) for part in range(7)})
    for start, stop in pairwise(stops):
        ppo.learn(total_updates=stop - start)
        scores, kl = ppo.rollout.scores, ppo.rollout.kl
        if ppo.processes.writes:
            print(f"update {ppo.n_updates:3d}   score {scores.mean():+.2f}   KL {kl.mean():.2f} nats")
    checkpoint = ppo.save(args.log_dir / "checkpoint")
    if ppo.processes.writes:
        print(f"checkpoint in {checkpoint}")
    return {"score": float(scores.mean())}


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
