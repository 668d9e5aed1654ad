"""PPO, GRPO and RLOO of this package on the job.

python -m iteration.ours FOLDER ppo --critic shared --precision bfloat16
"""

import argparse
from pathlib import Path
from typing import Any, get_args

import numpy as np
from iteration.job import Job
from iteration.turns import Stopwatch, Turns
from stable_baselines3.common.callbacks import BaseCallback

import textrl_env.agents
from textrl_env import KLShaping, TextGenVectorEnv
from textrl_env.agents import PPO, ActorCriticLM, Rollout, Targets
from textrl_env.lm import Precision
from textrl_env.reference import FrozenReference
from textrl_env.reward_models import ModelReward, RewardModel


def actor_critic(job: Job, *, critic: Any = "separate", precision: Precision = "float32") -> ActorCriticLM:
    """The agent."""
    return ActorCriticLM(job.policy(), vocab_size=job.size.vocabulary, critic=critic, precision=precision)


class TimedReference(FrozenReference):
    """Its work counts as scoring, though the environment calls it during the rollout."""

    def __init__(self, model: Any, *, vocab_size: int, precision: Precision, stopwatch: Stopwatch) -> None:
        super().__init__(model, vocab_size=vocab_size, precision=precision)
        self._stopwatch = stopwatch

    def completion_logprobs(self, input_ids: Any, attention_mask: Any, n_tokens: int) -> np.ndarray:
        with self._stopwatch.during("scoring"):
            return super().completion_logprobs(input_ids, attention_mask, n_tokens)


class Phases(BaseCallback):
    """Where the rollout begins and where the update does."""

    def __init__(self, stopwatch: Stopwatch) -> None:
        super().__init__()
        self._stopwatch = stopwatch

    def _on_rollout_start(self) -> None:
        self._stopwatch.switch("rollout")

    def _on_rollout_end(self) -> None:
        self._stopwatch.switch("update")

    def _on_step(self) -> bool:
        return True


def environment(
    job: Job, stopwatch: Stopwatch, *, precision: Precision = "float32", kl: KLShaping | None, **options: Any
) -> TextGenVectorEnv:
    """Completions of full length, a reward model's score for each, a reference in the reward."""
    size, tokenizer = job.size, job.tokenizer()
    score = ModelReward(RewardModel(job.classifier("reward_model"), tokenizer, precision=precision))

    def reward(tokenizer: Any, **columns: Any) -> list[float]:
        with stopwatch.during("scoring"):
            return score(tokenizer=tokenizer, **columns)

    reference = TimedReference(job.policy(), vocab_size=size.vocabulary, precision=precision, stopwatch=stopwatch)
    shaping = {} if kl is None else {"kl": kl, "reference": reference}
    return TextGenVectorEnv(
        job.prompts,
        reward,
        tokenizer,
        num_envs=size.completions,
        max_new_tokens=size.tokens,
        eos_token_ids=[],
        **shaping,
        **options,
    )


class PhasedPPO(PPO):
    """PPO whose critic's pass over the rollout counts as scoring."""

    stopwatch: Stopwatch

    def advantages(self, rollout: Rollout) -> Targets:
        with self.stopwatch.during("scoring"):
            return super().advantages(rollout)


def ppo(
    job: Job,
    stopwatch: Stopwatch,
    *,
    critic: str = "separate",
    precision: Precision = "float32",
    microbatch_size: int | None = None,
) -> PhasedPPO:
    """The algorithm, ready to be run update by update."""
    size = job.size
    kl = KLShaping(size.kl_coef, "sampled", pay="episode")
    env = environment(job, stopwatch, precision=precision, kl=kl, autoreset_mode="Disabled")
    algorithm = PhasedPPO(
        actor_critic(job, critic=critic, precision=precision),
        env,
        learning_rate=size.learning_rate,
        n_episodes=size.completions,
        batch_size=size.completions,
        microbatch_size=microbatch_size,
        n_epochs=size.epochs,
    )
    algorithm.stopwatch = stopwatch
    return algorithm


def without_critic(name: str, job: Job, stopwatch: Stopwatch, precision: Precision = "float32") -> Any:
    """GRPO with the KL term in the loss, or RLOO with it in the reward, as their peers have it."""
    size = job.size
    options: dict[str, Any] = {}
    kl = KLShaping(size.kl_coef, "sampled", pay="episode")
    if name == "GRPO":
        kl, reference = None, FrozenReference(job.policy(), vocab_size=size.vocabulary, precision=precision)
        options = {"kl_loss_coef": size.kl_coef, "kl_loss_estimator": "k3", "reference": reference}
    return getattr(textrl_env.agents, name)(
        actor_critic(job, critic="none", precision=precision),
        environment(job, stopwatch, precision=precision, kl=kl, autoreset_mode="Disabled"),
        learning_rate=size.learning_rate,
        n_episodes=size.completions,
        batch_size=size.completions,
        n_epochs=size.epochs,
        group_size=size.group,
        **options,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("algorithm", choices=("ppo", "grpo", "rloo"))
    parser.add_argument("--critic", default="separate", choices=("separate", "shared"))
    parser.add_argument("--precision", default="float32", choices=get_args(Precision))
    args = parser.parse_args()
    turns, stopwatch, job = Turns(), Stopwatch(), Job(args.folder)
    if args.algorithm == "ppo":
        algorithm: Any = ppo(job, stopwatch, critic=args.critic, precision=args.precision)
    else:
        algorithm = without_critic(args.algorithm.upper(), job, stopwatch, args.precision)
    phases = Phases(stopwatch)

    def iteration() -> dict[str, Any]:
        algorithm.learn(total_updates=1, callback=phases)
        return {"tokens": algorithm.rollout.n_tokens, "phases": stopwatch.read()}

    turns.ready()
    turns.serve(iteration)


if __name__ == "__main__":
    main()
