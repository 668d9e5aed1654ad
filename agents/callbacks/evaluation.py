"""Evaluation on held-out prompts while training goes on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.callbacks import BaseCallback

from textrl_env.agents.callbacks.samples import record_samples
from textrl_env.agents.policy import ActorCriticLM
from textrl_env.data import PromptSource
from textrl_env.errors import InputError, require_count, require_seed
from textrl_env.mdp import RewardCallable, RewardSource, TextGenVectorEnv

MEANS = {"score", "kl", "rlhf_reward", "length", "samples"}
"""Names under `eval/` that are always logged."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HeldoutEvaluation:
    """The measurements of n completions, one for each prompt.

    Attributes:
        completions: n texts.
        terms: (n,) each, by reward function, weighted.
        kl: (n,) in nats; 0 where the environment does not know it.
        lengths: (n,) in tokens.
    """

    completions: list[str]
    terms: dict[str, Floats]
    kl: Floats
    lengths: Floats


class EvaluateOnPrompts(BaseCallback):
    """Completes held-out prompts under the training environment's rules, and logs how they are judged as `eval/…`.

    It does so at the start, every few updates and at the end (unless training was stopped in the middle of a rollout),
    with the same prompts and the same seed, so that two evaluations differ by the policy alone. Training is not
    touched: with and without the callback it comes to the same parameters.

    Args:
        prompts: held-out prompts, in any form that an environment takes.
        rewards: further reward functions by name, gold for instance, logged as `eval/NAME`. The environment's own
            reward is always judged, as `eval/score`.
        every_updates: updates between evaluations, at least 1.
        n: how many of the prompts, the first ones; all if there are fewer.
        n_samples: how many of the completions are logged as texts, `eval/samples`.
        seed: of sampling.
    """

    def __init__(
        self,
        prompts: PromptSource,
        rewards: Mapping[str, RewardCallable] | None = None,
        *,
        every_updates: int = 10,
        n: int = 64,
        n_samples: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        require_count(1, every_updates=every_updates, n=n)
        require_count(0, n_samples=n_samples)
        require_seed(seed)
        self.prompts, self.rewards = prompts, dict(rewards or {})
        self.every_updates, self.n, self.n_samples, self.seed = every_updates, n, n_samples, seed

    def _on_training_start(self) -> None:
        algorithm: Any = self.model
        self._env_terms = algorithm.env.task.rewards.terms
        if clashes := self.rewards.keys() & (MEANS | set(self._env_terms)):
            raise InputError(f"the name {min(clashes)!r} is taken in the evaluation; choose another for the reward")
        self._env = make_heldout_env(algorithm.env, self.prompts, self._env_terms | self.rewards)
        self._first, self._collecting = algorithm.state.end_evaluated_at, False

    def _on_rollout_start(self) -> None:
        self._collecting = True

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self._collecting = False
        if self.model.n_updates % self.every_updates == 0:  # type: ignore[attr-defined]
            self._evaluate()

    def _on_training_end(self) -> None:
        algorithm: Any = self.model
        # A run that was interrupted may go on, and is evaluated at its end.
        if algorithm.n_updates > self._first and not self._collecting and not algorithm.interrupted:
            self._evaluate()
            algorithm.state.end_evaluated_at = algorithm.n_updates

    def _evaluate(self) -> None:
        algorithm: Any = self.model
        env, n = self._env, min(self.n, len(self._env.task.prompts))
        evaluation = evaluate_prompts(algorithm.policy, env, n, seed=self.seed)
        score = sum((evaluation.terms[name] for name in self._env_terms), start=np.zeros(n))
        means = {name: values.mean() for name, values in evaluation.terms.items()} | {
            "score": score.mean(),
            "kl": evaluation.kl.mean(),
            "rlhf_reward": (score - algorithm.env.kl_coef * evaluation.kl).mean(),
            "length": evaluation.lengths.mean(),
        }
        for name, mean in means.items():
            self.logger.record(f"eval/{name}", float(mean))
        rows: list[dict[str, Any]] = [
            {
                "prompt": env.task.prompts.prompts[row],
                "completion": evaluation.completions[row],
                **{name: float(values[row]) for name, values in evaluation.terms.items()},
                "kl": float(evaluation.kl[row]),
            }
            for row in range(min(n, self.n_samples))
        ]
        if rows:
            record_samples(self.logger, "eval/samples", rows, n_updates=algorithm.n_updates)


def make_heldout_env(env: TextGenVectorEnv, prompts: PromptSource, rewards: RewardSource) -> TextGenVectorEnv:
    """Makes an environment with other prompts and rewards, and otherwise the rules, reference and slots of `env`."""
    task = env.task
    return TextGenVectorEnv(
        prompts,
        rewards,
        task.tokenizer,
        num_envs=env.num_envs,
        autoreset_mode=AutoresetMode.DISABLED,
        max_new_tokens=task.max_new_tokens,
        min_new_tokens=task.min_new_tokens,
        banned_tokens=task.action_tokens[~task.legal].tolist(),
        eos_token_ids=np.flatnonzero(task.is_end).tolist(),
        stop_strings=task.stop_strings,
        length_limit=task.length_limit,
        kl=task.kl,
        reference=task.reference,
        include_text=True,
    )


def evaluate_prompts(policy: ActorCriticLM, env: TextGenVectorEnv, n: int, *, seed: int) -> HeldoutEvaluation:
    """Samples one completion for each of the first n prompts, from a generator of its own, and has them judged.

    Args:
        policy: acts in the environment.
        env: in autoreset mode DISABLED, with `include_text`.
        n: prompts, at least 1.
        seed: of sampling.
    """
    completions: list[str] = []
    parts: dict[str, list[Floats]] = {name: [] for name in (*env.task.rewards.terms, "kl", "length")}
    training_generator = policy.generator
    policy.generator = torch.Generator(device=policy.device).manual_seed(require_seed(seed))
    try:
        for start in range(0, n, env.num_envs):
            size = min(env.num_envs, n - start)
            for name, values in _completions(policy, env, np.arange(start, start + size)).items():
                if name == "completion":
                    completions += values.tolist()
                else:
                    parts[name].append(values)
    finally:
        policy.generator = training_generator
    columns = {name: np.concatenate(values) for name, values in parts.items()}
    kl, lengths = columns.pop("kl"), columns.pop("length")
    return HeldoutEvaluation(completions, columns, kl, lengths)


def _completions(
    policy: ActorCriticLM, env: TextGenVectorEnv, prompt_index: npt.NDArray[np.int64]
) -> dict[str, npt.NDArray[Any]]:
    """Plays prompts in the first slots; returns what ends of episodes say, (len(prompt_index),) each."""
    in_use = np.arange(env.num_envs) < len(prompt_index)
    prompts = np.zeros(env.num_envs, dtype=np.int64)
    prompts[in_use] = prompt_index
    observation, _ = env.reset(options={"reset_mask": in_use, "prompt_index": prompts})
    env.abandon(~in_use)
    pays_samples = env.task.kl is not None and env.task.kl.mode == "sampled"
    ends: dict[str, npt.NDArray[Any]] = {}
    while (live := env.live).any():
        masks = env.action_masks() if env.masks_actions else None
        tokens, logprobs = policy.act(observation, live=live, action_masks=masks)
        observation, _, _, _, info = env.step({"token": tokens, "logprob": logprobs} if pays_samples else tokens)
        ends_now = live & ~env.live
        now = {
            **{name: info["reward_terms"][name] for name in env.task.rewards.terms},
            "completion": info["completion"],
            "length": info["n_completion_tokens"],
            "kl": info.get("kl", np.zeros(env.num_envs)),
        }
        ends = {name: np.where(ends_now, values, ends.get(name, values)) for name, values in now.items()}
    return {name: values[in_use] for name, values in ends.items()}
