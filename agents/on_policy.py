"""The loop that every on-policy algorithm here shares: collect whole completions, compute targets, update, log."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback, ProgressBarCallback
from stable_baselines3.common.logger import Logger
from torch import Tensor

from textrl_env import InputError, TextGenVectorEnv
from textrl_env.agents import checkpoint
from textrl_env.agents.actor_critic import ActorCriticLM
from textrl_env.agents.losses import masked_mean
from textrl_env.agents.rollout import Rollout, collect
from textrl_env.agents.run_log import run_logger
from textrl_env.errors import require_above, require_at_least
from textrl_env.master_weights import adamw

Schedule = Callable[[float], float]
MaybeCallback = None | BaseCallback | list[BaseCallback] | Callable[[dict[str, Any], dict[str, Any]], bool]


@dataclass(frozen=True)
class Targets:
    """What the loss needs beside the rollout: (B, C) each, zero or junk where the completion mask is False."""

    advantages: Tensor
    returns: Tensor | None = None
    values: Tensor | None = None

    def __getitem__(self, rows: Tensor) -> "Targets":
        parts = (getattr(self, field.name) for field in fields(self))
        return Targets(*(None if part is None else part[rows] for part in parts))  # type: ignore[arg-type]


class OnPolicyAlgorithm(ABC):
    """`learn`, `predict`, `save` and `load` as in Stable-Baselines3; one timestep is one token.

    A new algorithm is a subclass with `advantages(rollout)` and `loss(batch, targets)`.

    Args:
        policy: the actor-critic LM; trained in place.
        env: a `TextGenVectorEnv` in autoreset mode DISABLED.
        learning_rate: of Adam (on float32 copies where the policy is bfloat16); a number, or a function of the
            remaining progress (1 at the start, 0 at the end).
        n_episodes: completions per update.
        batch_size: completions per minibatch; must divide `n_episodes`.
        n_epochs: passes over the completions of an update.
        gamma: discount per token, in (0, 1].
        max_grad_norm: gradients are scaled down to this norm, above 0.
        log_dir: folder for TensorBoard, `progress.csv` and `progress.jsonl`; None logs nowhere.
        verbose: 1 also prints each logged update to stdout.
        seed: of sampling, minibatch order and the environment.
    Raises:
        InputError: an impossible option, named.
    """

    def __init__(
        self,
        policy: ActorCriticLM,
        env: TextGenVectorEnv,
        *,
        learning_rate: float | Schedule = 3e-4,
        n_episodes: int = 64,
        batch_size: int | None = None,
        n_epochs: int = 4,
        gamma: float = 1.0,
        max_grad_norm: float = 1.0,
        log_dir: str | Path | None = None,
        verbose: int = 0,
        seed: int = 0,
    ) -> None:
        batch_size = n_episodes if batch_size is None else batch_size
        require_at_least(1, n_episodes=n_episodes, batch_size=batch_size, n_epochs=n_epochs)
        if n_episodes % batch_size:
            raise InputError(f"batch_size must divide n_episodes={n_episodes}, got {batch_size}")
        if not 0 < gamma <= 1:
            raise InputError(f"gamma must be in (0, 1], got {gamma}")
        require_above(0, max_grad_norm=max_grad_norm)
        if policy.vocab_size != env.task.vocab_size:
            raise InputError(
                f"the policy samples from {policy.vocab_size} tokens, the environment's tokenizer has "
                f"{env.task.vocab_size}; load the policy with vocab_size=len(tokenizer)"
            )
        if not np.array_equal(env.task.action_tokens, np.arange(policy.vocab_size)):
            raise InputError("a language model's actions are all tokens: leave out action_tokens (ban tokens instead)")
        context = getattr(policy.policy.config.get_text_config(), "max_position_embeddings", None)
        if context is not None and env.task.length > context:
            raise InputError(
                f"prompts of {env.task.max_prompt_tokens} and completions of {env.task.max_new_tokens} tokens do not "
                f"fit the policy's context of {context}; lower max_new_tokens or shorten the prompts"
            )
        self.policy, self.env = policy, env
        self.learning_rate = learning_rate
        self.n_episodes, self.batch_size, self.n_epochs = n_episodes, batch_size, n_epochs
        self.gamma, self.max_grad_norm, self.seed = gamma, max_grad_norm, seed
        self.num_timesteps = self.n_updates = 0
        self.optimizer = adamw(policy.parameters(), lr=self._rate(1.0), eps=1e-5)
        self.logger: Logger = run_logger(log_dir, verbose=verbose)
        self.generator = torch.Generator().manual_seed(seed)
        policy.generator.manual_seed(seed)
        env.reset(seed=seed)

    @abstractmethod
    def advantages(self, rollout: Rollout) -> Targets:
        """Targets of a fresh rollout; called once per update, without gradients."""

    @abstractmethod
    def loss(self, batch: Rollout, targets: Targets) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a minibatch, and what to log of it (scalars by name)."""

    def learn(
        self,
        total_timesteps: int | None = None,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        progress_bar: bool = False,
        *,
        total_updates: int | None = None,
    ) -> "OnPolicyAlgorithm":
        """Trains until `total_timesteps` tokens or `total_updates` updates from now; returns itself.

        Callbacks are Stable-Baselines3's; `on_step` follows every step of the vector environment, and `self.rollout`
        holds the completions at `on_rollout_end`. A callback that returns False ends training.
        """
        if (total_timesteps is None) == (total_updates is None):
            raise InputError("learn() takes total_timesteps or total_updates, one of the two")
        if (total := total_updates or total_timesteps or 0) < 1:
            raise InputError(f"learn() takes total_timesteps or total_updates of at least 1, got {total}")
        callbacks = self._callbacks(callback, progress_bar)
        first, first_update, started = self.num_timesteps, self.n_updates, time.perf_counter()
        self._total_timesteps = total_timesteps or 0
        callbacks.on_training_start(locals(), globals())
        progress = 0.0
        while progress < 1:
            callbacks.on_rollout_start()
            rollout = collect(self.env, self.policy, self.n_episodes, on_step=callbacks.on_step)
            if rollout is None:
                break
            self.rollout = rollout.to(self.policy.device)
            self.num_timesteps += rollout.n_tokens
            self._log_rollout(self.rollout)
            callbacks.on_rollout_end()
            self._update(self.rollout, self._rate(1 - progress))
            if self.n_updates % log_interval == 0:
                seconds = time.perf_counter() - started
                self.logger.record("time/iterations", self.n_updates)
                self.logger.record("time/total_timesteps", self.num_timesteps)
                self.logger.record("time/fps", int((self.num_timesteps - first) / seconds), exclude="tensorboard")
                self.logger.dump(step=self.num_timesteps)
            if total_updates is not None:
                progress = (self.n_updates - first_update) / total_updates
            else:
                progress = (self.num_timesteps - first) / self._total_timesteps
        callbacks.on_training_end()
        return self

    def predict(self, observation: dict[str, np.ndarray], deterministic: bool = False) -> tuple[np.ndarray, None]:
        """Tokens for a batch of observations, (N, L) -> (N,), and None for the state, as SB3's models return."""
        return self.policy.act(observation, deterministic=deterministic)[0], None

    def get_env(self) -> TextGenVectorEnv:
        """The environment; SB3's callbacks ask for it."""
        return self.env

    def save(self, path: str | Path) -> Path:
        """Writes a checkpoint folder (policy/, critic/, trainer/, manifest.json), whole or not at all; returns it."""
        counters = {"num_timesteps": self.num_timesteps, "n_updates": self.n_updates, "kl_coef": self.env.kl_coef}
        generators = {"shuffle": self.generator, "sampling": self.policy.generator}
        return checkpoint.save(path, self.policy, self.optimizer, generators, counters)

    def load(self, path: str | Path) -> "OnPolicyAlgorithm":
        """Takes parameters, optimizer, generators and counters from a checkpoint folder; returns itself."""
        generators = {"shuffle": self.generator, "sampling": self.policy.generator}
        counters = checkpoint.load(path, self.policy, self.optimizer, generators)
        self.num_timesteps, self.n_updates = int(counters["num_timesteps"]), int(counters["n_updates"])
        self.env.kl_coef = counters["kl_coef"]
        self.policy.parameters_changed()
        return self

    def _rate(self, remaining: float) -> float:
        return self.learning_rate(remaining) if callable(self.learning_rate) else self.learning_rate

    def _update(self, rollout: Rollout, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.no_grad():
            targets = self.advantages(rollout)
        sums: dict[str, float] = {}
        count = 0
        for _ in range(self.n_epochs):
            order = torch.randperm(len(rollout), generator=self.generator)
            for rows in torch.split(order, self.batch_size):
                loss, statistics = self.loss(rollout[rows], targets[rows])
                norm = self._step(loss)
                count += 1
                for name, statistic in (statistics | {"loss": loss, "gradient_norm": norm}).items():
                    sums[name] = sums.get(name, 0.0) + float(statistic.detach())
        self.n_updates += 1
        self.policy.parameters_changed()
        for name, value in sums.items():
            self.logger.record(f"train/{name}", value / count)
        self.logger.record("train/learning_rate", rate)

    def _step(self, loss: Tensor) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        if not math.isfinite(float(loss.detach())) or not math.isfinite(float(norm)):
            raise InputError(
                f"the loss is {float(loss.detach())}, its gradient norm {float(norm)} at update {self.n_updates + 1}; "
                "the parameters are those of before this step. Lower learning_rate, or look at the rewards"
            )
        self.optimizer.step()
        return norm

    def _log_rollout(self, rollout: Rollout) -> None:
        """SB3's rollout tags, and the objective's parts under the names that TRL uses."""
        lengths = rollout.completion_mask.sum(dim=1).float()
        returns = torch.where(rollout.completion_mask, rollout.rewards, 0.0).sum(dim=1)
        record = self.logger.record
        record("rollout/ep_rew_mean", float(returns.mean()))
        record("rollout/ep_len_mean", float(lengths.mean()))
        record("objective/scores", float(rollout.scores.mean()))
        record("objective/rlhf_reward", float(returns.mean()))
        record("objective/non_score_reward", float((returns - rollout.scores).mean()))
        record("objective/kl", float(rollout.kl.mean()))
        record("objective/kl_coef", self.env.kl_coef)
        # Minus the log-probability of what was sampled: an unbiased estimate of the entropy per token.
        record("objective/entropy", float(masked_mean(-rollout.logprobs, rollout.completion_mask)))

    def _callbacks(self, callback: MaybeCallback, progress_bar: bool) -> BaseCallback:
        if isinstance(callback, list):
            callback = CallbackList(callback)
        if callback is None or not isinstance(callback, BaseCallback):
            callback = ConvertCallback(callback) if callback is not None else CallbackList([])
        if progress_bar:
            callback = CallbackList([callback, ProgressBarCallback()])
        # SB3's callbacks ask an algorithm for `logger`, `num_timesteps` and `get_env()`, which this one has too.
        callback.init_callback(self)  # type: ignore[arg-type]
        return callback
