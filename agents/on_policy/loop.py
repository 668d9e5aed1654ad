"""The loop that every on-policy algorithm here shares: collect whole completions, compute targets, update, log."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from stable_baselines3.common.logger import Logger
from torch import Tensor

from textrl_env.agents.batch import Batch, Targets
from textrl_env.agents.callbacks import MaybeCallback, as_callback
from textrl_env.agents.maths import kl_loss
from textrl_env.agents.on_policy import training_state
from textrl_env.agents.on_policy.batch_sizes import check_sizes
from textrl_env.agents.on_policy.checks import check_fits
from textrl_env.agents.on_policy.learner import Learner
from textrl_env.agents.on_policy.options import Schedule
from textrl_env.agents.on_policy.plan import Plan
from textrl_env.agents.on_policy.run_log import UnwrittenLog, run_logger
from textrl_env.agents.on_policy.tags import critic_tags, rollout_tags
from textrl_env.agents.on_policy.update import Update
from textrl_env.agents.policy import ActorCriticLM
from textrl_env.agents.processes import launched
from textrl_env.agents.rollout import Rollout
from textrl_env.agents.rollouts import gather
from textrl_env.errors import InputError, require_above, require_at_least
from textrl_env.mdp import Estimator, TextGenVectorEnv
from textrl_env.reference import FrozenReference


class OnPolicyAlgorithm(ABC):
    """`learn`, `predict`, `save` and `load` as in Stable-Baselines3; one timestep is one token.

    A new algorithm is a subclass with `advantages(rollout)` and `loss(batch)`.

    Args:
        policy: the actor-critic LM; trained in place.
        env: a `TextGenVectorEnv` in autoreset mode DISABLED.
        learning_rate: of Adam (on float32 copies where the policy is bfloat16); a number, or a function of the
            remaining progress (1 at the start, 0 at the end).
        n_episodes: completions per update. Where several processes train together, of all of them, and so is
            `batch_size`; their number must divide both, and a prompt's completions stay in one process.
        group_size: completions per prompt; must divide `n_episodes`.
        batch_size: completions per minibatch; must divide `n_episodes`.
        microbatch_size: completions per forward and backward pass of a process, to bound memory; gradients are those
            of the whole minibatch. None takes the minibatch at once.
        n_epochs: passes over the completions of an update.
        gamma: discount per token, in (0, 1].
        kl_loss_coef: weight of a KL term in the loss, beside or instead of the environment's KL shaping, 0 or more.
            There it has a gradient of its own and passes neither through advantages nor through the critic.
        kl_loss_estimator: of that term; `"k2"` has the exact gradient, `"k3"` is what GRPO uses, `"k1"` has none in
            expectation and is refused (see docs/kl_estimators.md).
        reference: the frozen policy of that term.
        max_grad_norm: gradients are scaled down to this norm, above 0.
        adam_eps: added to Adam's root of the second moment, above 0. Steps shrink along parameters whose gradients are
            small beside it.
        log_dir: folder for TensorBoard, `progress.csv` and `progress.jsonl`; None logs nowhere.
        verbose: 1 also prints each logged update to stdout.
        seed: of sampling, minibatch order and the environment.

    Raises:
        InputError: an impossible option, named.
    """

    needs_critic: ClassVar[bool] = False
    """Whether the policy must come with a critic."""

    def __init__(
        self,
        policy: ActorCriticLM,
        env: TextGenVectorEnv,
        *,
        learning_rate: float | Schedule = 3e-4,
        n_episodes: int = 64,
        group_size: int = 1,
        batch_size: int | None = None,
        microbatch_size: int | None = None,
        n_epochs: int = 4,
        gamma: float = 1.0,
        kl_loss_coef: float = 0.0,
        kl_loss_estimator: Estimator = "k2",
        reference: FrozenReference | None = None,
        max_grad_norm: float = 1.0,
        adam_eps: float = 1e-5,
        log_dir: str | Path | None = None,
        verbose: int = 0,
        seed: int = 0,
    ) -> None:
        batch_size = n_episodes if batch_size is None else batch_size
        microbatch_size = batch_size if microbatch_size is None else microbatch_size
        self.processes = launched(policy.device)
        check_sizes(
            n_episodes=n_episodes, group_size=group_size, batch_size=batch_size, microbatch_size=microbatch_size,
            n_epochs=n_epochs, processes=self.processes.count,
        )  # fmt: skip
        if not 0 < gamma <= 1:
            raise InputError(f"gamma must be in (0, 1], got {gamma}")
        require_above(0, max_grad_norm=max_grad_norm, adam_eps=adam_eps)
        require_at_least(0, kl_loss_coef=kl_loss_coef)
        if kl_loss_coef and reference is None:
            raise InputError("a KL term in the loss needs a reference: pass reference=FrozenReference(...)")
        if kl_loss_estimator not in ("k2", "k3"):
            raise InputError(f"kl_loss_estimator must be 'k2' or 'k3', got {kl_loss_estimator!r}")
        if self.needs_critic and policy.critic_kind == "none":
            raise InputError(f"{type(self).__name__} learns with a critic; make the policy with critic='separate'")
        check_fits(policy, env)
        self.policy, self.env = policy, env
        self.learning_rate = learning_rate
        self.n_episodes, self.group_size = n_episodes, group_size
        self.batch_size, self.n_epochs, self.gamma, self.seed = batch_size, n_epochs, gamma, seed
        self.kl_loss_coef, self.kl_loss_estimator, self.reference = kl_loss_coef, kl_loss_estimator, reference
        self.num_timesteps = self.n_updates = 0
        self.interrupted = False
        self.learner = Learner(
            policy, learning_rate=self._rate(1.0), microbatch_size=microbatch_size, max_grad_norm=max_grad_norm,
            adam_eps=adam_eps, processes=self.processes,
        )  # fmt: skip
        self.log_dir, self.verbose = log_dir, verbose
        self.plan: Plan | None = None
        self.update: Update | None = None
        self.logged: dict[str, float] = {}
        self.last_checkpoint: Path | None = None
        self.generator = torch.Generator().manual_seed(seed)
        policy.generator.manual_seed(self.processes.seed(seed))
        env.share_prompts(self.processes.index, self.processes.count)
        env.reset(seed=self.processes.seed(seed))

    @abstractmethod
    def advantages(self, rollout: Rollout) -> Targets:
        """Targets of a fresh rollout; called once per update, without gradients."""

    @abstractmethod
    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of some episodes and scalars to log, all summed with `batch.weights`, so that parts add up."""

    def weights(self, mask: Tensor) -> Tensor:
        """Each token's share in a minibatch's loss, (B, C) -> (B, C); here all tokens that count weigh alike."""
        return mask / mask.sum()

    @cached_property
    def logger(self) -> Logger:
        """Opened when it is first used, so that a run that was loaded goes on in its files and another starts anew."""
        if not self.processes.writes:
            return UnwrittenLog()
        return run_logger(self.log_dir, verbose=self.verbose, after=self.n_updates)

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Adam, over the policy's parameters."""
        return self.learner.optimizer

    def learn(
        self,
        total_timesteps: int | None = None,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        progress_bar: bool = False,
        *,
        total_updates: int | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> "OnPolicyAlgorithm":
        """Trains until `total_timesteps` tokens or `total_updates` updates from now; returns itself.

        Without either it goes on with the training that was stopped, in this process or before `load`, to the length
        that was asked for then and on the same schedule; with one, an update that was stopped is given up.

        Callbacks are Stable-Baselines3's; `on_step` follows every step of the vector environment, and `self.rollout`
        holds the completions at `on_rollout_end`. A callback that returns False ends training, and so does
        `should_stop`, which is asked after every step of the environment and of the optimizer. A rollout that is
        stopped half-way is undone, and will be gathered with the same draws; an update is finished by `learn()`.
        What callbacks log at the end of training is a last row of its own. Where several processes train together, all
        stop where one is told to.
        """
        if self.plan is None or total_timesteps is not None or total_updates is not None:
            self.plan, self.update = Plan(self.num_timesteps, self.n_updates, total_timesteps, total_updates), None
        plan = self.plan
        updates, minibatches = self.position
        self.processes.require_same(
            "the state of training", {"updates": updates, "minibatches": minibatches, "tokens": self.num_timesteps}
        )

        def stop() -> bool:
            return self.processes.any(should_stop())

        callbacks = as_callback(callback, progress_bar=progress_bar)
        # SB3's callbacks ask an algorithm for `logger`, `num_timesteps` and `get_env()`, which this one has too.
        callbacks.init_callback(self)  # type: ignore[arg-type]
        first, started = self.num_timesteps, time.perf_counter()
        self._total_timesteps = plan.total_timesteps or 0
        callbacks.on_training_start(locals(), globals())
        while not stop():
            if self.update is None:
                progress = plan.progress(timesteps=self.num_timesteps, updates=self.n_updates)
                if progress >= 1:
                    break
                callbacks.on_rollout_start()
                kl_coef = self.env.kl_coef
                rollout = gather(
                    self.env, self.policy, self.n_episodes, group_size=self.group_size, processes=self.processes,
                    go_on=lambda: callbacks.on_step() and not should_stop(),
                )  # fmt: skip
                if rollout is None:
                    break
                self.rollout = rollout
                self.num_timesteps += rollout.n_tokens
                self._record(rollout_tags(rollout, kl_coef=kl_coef))
                callbacks.on_rollout_end()
                self.update = self._new_update(rollout, self._rate(1 - progress))
            update, at = self.update, f"update {self.n_updates + 1}"
            if not self.learner.finish(update, self, should_stop=stop, at=at, last_checkpoint=self.last_checkpoint):
                break
            self.update = None
            self.n_updates += 1
            self._record({f"train/{name}": value for name, value in update.means().items()})
            self._record({"train/learning_rate": update.learning_rate})
            if self.n_updates % log_interval == 0:
                self.logged = training_state.recorded(self)
                fps = int((self.num_timesteps - first) / (time.perf_counter() - started))
                self.logger.record("time/fps", fps, exclude="tensorboard")
                self._write_row()
        self.interrupted = stop()
        callbacks.on_training_end()
        # What an update that was stopped has logged so far is in its checkpoint, and is a row when it is finished.
        if self.update is None and self.logger.name_to_value:
            self._write_row()
        return self

    @property
    def position(self) -> tuple[int, int]:
        """How far training is: updates done, and minibatches done of one that was stopped."""
        return self.n_updates, 0 if self.update is None else self.update.done

    def predict(self, observation: dict[str, np.ndarray], deterministic: bool = False) -> tuple[np.ndarray, None]:
        """Tokens for a batch of observations, (N, L) -> (N,), and None for the state, as SB3's models return."""
        return self.policy.act(observation, deterministic=deterministic)[0], None

    def get_env(self) -> TextGenVectorEnv:
        """The environment; SB3's callbacks ask for it."""
        return self.env

    def save(self, path: str | Path) -> Path:
        """Writes a checkpoint folder (policy/, critic/, trainer/, manifest.json), whole or not at all; returns it.

        InputError where it cannot be written. `learn()` after `load` goes on as if training had never stopped.
        """
        self.last_checkpoint = training_state.save(self, path)
        return self.last_checkpoint

    def load(self, path: str | Path) -> "OnPolicyAlgorithm":
        """Takes the whole state of training from a checkpoint folder; returns itself."""
        training_state.load(self, path)
        self.last_checkpoint = Path(path)
        return self

    def _record(self, tags: dict[str, float]) -> None:
        for name, value in tags.items():
            self.logger.record(name, value)

    def _write_row(self) -> None:
        self._record({"time/iterations": self.n_updates, "time/total_timesteps": self.num_timesteps})
        self.logger.dump(step=self.num_timesteps)

    def _rate(self, remaining: float) -> float:
        return self.learning_rate(remaining) if callable(self.learning_rate) else self.learning_rate

    def kl_loss(self, logprobs: Tensor, batch: Batch) -> Tensor:
        """The KL term of the loss for new log-probabilities (B, C); 0 without one."""
        reference = batch.targets.ref_logprobs
        if reference is None:
            return logprobs.new_zeros(())
        return self.kl_loss_coef * kl_loss(logprobs - reference, batch.weights, estimator=self.kl_loss_estimator)

    def values(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Values of the states before each token (B, C), and of the state after a cut completion (B,), else 0."""
        # A cut completion has the full length, so the state after its last token is the last one read.
        after = bool(rollout.truncated.any())
        values = self.learner.in_parts(partial(self.policy.values, after=after), rollout)
        if not after:
            return values, rollout.scores.new_zeros(len(rollout))
        return values[:, :-1], values[:, -1] * rollout.truncated

    def _new_update(self, rollout: Rollout, rate: float) -> Update:
        with torch.no_grad():
            targets = self.advantages(rollout)
            if self.kl_loss_coef and (reference := self.reference) is not None:
                scored = self.learner.in_parts(
                    lambda part: part.placed(reference.following_logprobs(*part.states())), rollout
                )
                targets = replace(targets, ref_logprobs=scored)
        self._record(critic_tags(targets.values, targets.returns, rollout.completion_mask))
        epochs = [torch.randperm(len(rollout), generator=self.generator) for _ in range(self.n_epochs)]
        return Update(rollout, targets, torch.cat(epochs).view(-1, self.batch_size), rate)
