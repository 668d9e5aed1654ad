"""The loop that every on-policy algorithm here shares: collect whole completions, compute targets, update, log."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, TypedDict

import numpy as np
import torch
from stable_baselines3.common.logger import Logger
from torch import Tensor

from textrl_env import InputError, TextGenVectorEnv
from textrl_env.agents import training_state
from textrl_env.agents.actor_critic import ActorCriticLM
from textrl_env.agents.batch import Batch, Targets
from textrl_env.agents.callbacks import MaybeCallback, as_callback
from textrl_env.agents.fits import check_fits
from textrl_env.agents.losses import weighted_sum
from textrl_env.agents.plan import Plan
from textrl_env.agents.rollout import Rollout, collect
from textrl_env.agents.run_log import run_logger
from textrl_env.agents.tags import critic_tags, rollout_tags
from textrl_env.agents.update import Update
from textrl_env.errors import require_above, require_at_least
from textrl_env.finite import require_finite
from textrl_env.kl import Estimator
from textrl_env.master_weights import adamw
from textrl_env.reference import FrozenReference

Schedule = Callable[[float], float]


class OnPolicyOptions(TypedDict, total=False):
    """Keyword options of `OnPolicyAlgorithm`, and so of every algorithm."""

    learning_rate: float | Schedule
    n_episodes: int
    group_size: int
    batch_size: int | None
    microbatch_size: int | None
    n_epochs: int
    gamma: float
    kl_loss_coef: float
    kl_loss_estimator: Estimator
    reference: FrozenReference | None
    max_grad_norm: float
    log_dir: str | Path | None
    verbose: int
    seed: int


class OnPolicyAlgorithm(ABC):
    """`learn`, `predict`, `save` and `load` as in Stable-Baselines3; one timestep is one token.

    A new algorithm is a subclass with `advantages(rollout)` and `loss(batch)`.

    Args:
        policy: the actor-critic LM; trained in place.
        env: a `TextGenVectorEnv` in autoreset mode DISABLED.
        learning_rate: of Adam (on float32 copies where the policy is bfloat16); a number, or a function of the
            remaining progress (1 at the start, 0 at the end).
        n_episodes: completions per update.
        group_size: completions per prompt; must divide `n_episodes`.
        batch_size: completions per minibatch; must divide `n_episodes`.
        microbatch_size: completions per forward and backward pass, to bound memory; gradients are those of the whole
            minibatch. None takes the minibatch at once.
        n_epochs: passes over the completions of an update.
        gamma: discount per token, in (0, 1].
        kl_loss_coef: weight of a KL term in the loss, beside or instead of the environment's KL shaping, 0 or more.
            There it has a gradient of its own and passes neither through advantages nor through the critic.
        kl_loss_estimator: of that term; `"k2"` has the exact gradient, `"k3"` is what GRPO uses, `"k1"` has none in
            expectation and is refused (see docs/kl_estimators.md).
        reference: the frozen policy of that term.
        max_grad_norm: gradients are scaled down to this norm, above 0.
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
        log_dir: str | Path | None = None,
        verbose: int = 0,
        seed: int = 0,
    ) -> None:
        batch_size = n_episodes if batch_size is None else batch_size
        microbatch_size = batch_size if microbatch_size is None else microbatch_size
        require_at_least(
            1, n_episodes=n_episodes, group_size=group_size, batch_size=batch_size, microbatch_size=microbatch_size,
            n_epochs=n_epochs,
        )  # fmt: skip
        for name, size in {"batch_size": batch_size, "group_size": group_size}.items():
            if n_episodes % size:
                raise InputError(f"{name} must divide n_episodes={n_episodes}, got {size}")
        if not 0 < gamma <= 1:
            raise InputError(f"gamma must be in (0, 1], got {gamma}")
        require_above(0, max_grad_norm=max_grad_norm)
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
        self.batch_size, self.microbatch_size, self.n_epochs = batch_size, microbatch_size, n_epochs
        self.gamma, self.max_grad_norm, self.seed = gamma, max_grad_norm, seed
        self.kl_loss_coef, self.kl_loss_estimator, self.reference = kl_loss_coef, kl_loss_estimator, reference
        self.num_timesteps = self.n_updates = 0
        self.interrupted = False
        self.optimizer = adamw(policy.parameters(), lr=self._rate(1.0), eps=1e-5)
        self.log_dir, self.verbose = log_dir, verbose
        self.plan: Plan | None = None
        self.update: Update | None = None
        self.logged: dict[str, float] = {}
        self.last_checkpoint: Path | None = None
        self.generator = torch.Generator().manual_seed(seed)
        policy.generator.manual_seed(seed)
        env.reset(seed=seed)

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
        return run_logger(self.log_dir, verbose=self.verbose, after=self.n_updates)

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
        What callbacks log at the end of training is a last row of its own.
        """
        if self.plan is None or total_timesteps is not None or total_updates is not None:
            self.plan, self.update = Plan(self.num_timesteps, self.n_updates, total_timesteps, total_updates), None
        plan = self.plan
        callbacks = as_callback(callback, progress_bar=progress_bar)
        # SB3's callbacks ask an algorithm for `logger`, `num_timesteps` and `get_env()`, which this one has too.
        callbacks.init_callback(self)  # type: ignore[arg-type]
        first, started = self.num_timesteps, time.perf_counter()
        self._total_timesteps = plan.total_timesteps or 0
        callbacks.on_training_start(locals(), globals())
        while not should_stop():
            if self.update is None:
                progress = plan.progress(timesteps=self.num_timesteps, updates=self.n_updates)
                if progress >= 1:
                    break
                callbacks.on_rollout_start()
                rollout = self._gather(lambda: callbacks.on_step() and not should_stop())
                if rollout is None:
                    break
                self.rollout = rollout
                self.num_timesteps += rollout.n_tokens
                self._record(rollout_tags(rollout, kl_coef=self.env.kl_coef))
                callbacks.on_rollout_end()
                self.update = self._new_update(rollout, self._rate(1 - progress))
            if not self._finish(self.update, should_stop):
                break
            self.update = None
            if self.n_updates % log_interval == 0:
                self.logged = training_state.recorded(self)
                seconds = time.perf_counter() - started
                self.logger.record("time/iterations", self.n_updates)
                self.logger.record("time/total_timesteps", self.num_timesteps)
                self.logger.record("time/fps", int((self.num_timesteps - first) / seconds), exclude="tensorboard")
                self.logger.dump(step=self.num_timesteps)
        self.interrupted = should_stop()
        callbacks.on_training_end()
        # What an update that was stopped has logged so far is in its checkpoint, and is a row when it is finished.
        if self.update is None and self.logger.name_to_value:
            self.logger.record("time/iterations", self.n_updates)
            self.logger.record("time/total_timesteps", self.num_timesteps)
            self.logger.dump(step=self.num_timesteps)
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

    def _rate(self, remaining: float) -> float:
        return self.learning_rate(remaining) if callable(self.learning_rate) else self.learning_rate

    def kl_loss(self, logprobs: Tensor, batch: Batch) -> Tensor:
        """The KL term of the loss for new log-probabilities (B, C); 0 without one."""
        reference = batch.targets.ref_logprobs
        if reference is None:
            return logprobs.new_zeros(())
        log_ratio = logprobs - reference
        estimate = 0.5 * log_ratio**2 if self.kl_loss_estimator == "k2" else (-log_ratio).exp() - 1 + log_ratio
        return self.kl_loss_coef * weighted_sum(estimate, batch.weights)

    def values(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Values of the states before each token (B, C), and of the state after a cut completion (B,), else 0."""
        # A cut completion has the full length, so the state after its last token is the last one read.
        after = bool(rollout.truncated.any())
        values = self._in_parts(partial(self.policy.values, after=after), rollout)
        if not after:
            return values, rollout.scores.new_zeros(len(rollout))
        return values[:, :-1], values[:, -1] * rollout.truncated

    def _gather(self, go_on: Callable[[], bool]) -> Rollout | None:
        """A rollout on the policy's device; None, and nothing drawn, where `go_on` said stop."""
        before, sampling = self.env.state(), self.policy.generator.get_state()
        rollout = collect(self.env, self.policy, self.n_episodes, group_size=self.group_size, on_step=go_on)
        if rollout is not None:
            return rollout.to(self.policy.device)
        self.env.restore(before)
        self.policy.generator.set_state(sampling)
        self.policy.parameters_changed()
        return None

    def _new_update(self, rollout: Rollout, rate: float) -> Update:
        with torch.no_grad():
            targets = self.advantages(rollout)
            if self.kl_loss_coef:
                targets = replace(targets, ref_logprobs=self._in_parts(self._reference_logprobs, rollout))
        self._record(critic_tags(targets.values, targets.returns, rollout.completion_mask))
        epochs = [torch.randperm(len(rollout), generator=self.generator) for _ in range(self.n_epochs)]
        return Update(rollout, targets, torch.cat(epochs).view(-1, self.batch_size), rate)

    def _finish(self, update: Update, should_stop: Callable[[], bool]) -> bool:
        """Does the remaining minibatches; False where `should_stop` left some for later."""
        for group in self.optimizer.param_groups:
            group["lr"] = update.learning_rate
        for rows in update.remaining():
            if update.done and should_stop():
                return False
            minibatch = update.rollout[rows]
            batch = Batch(minibatch, update.targets[rows], self.weights(minibatch.completion_mask))
            update.book(self._step(batch))
        self.n_updates += 1
        self.policy.parameters_changed()
        self._record(
            {f"train/{name}": value for name, value in update.means().items()}
            | {"train/learning_rate": update.learning_rate}
        )
        return True

    def _step(self, batch: Batch) -> dict[str, float]:
        """One step of the optimizer on a minibatch, part by part; returns what to log."""
        self.optimizer.zero_grad(set_to_none=True)
        total, sums = 0.0, dict[str, Any]()
        for rows in self._parts(len(batch)):
            part = batch[rows]
            loss, statistics = self.loss(part)
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
            for name, statistic in statistics.items():
                sums[name] = sums.get(name, 0.0) + statistic.detach()
        norm = float(torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm))
        prompts = sorted(set(batch.rollout.prompt_index.tolist()))
        at = f"update {self.n_updates + 1}, minibatch {self.position[1] + 1}, prompts {prompts}"
        require_finite(total, norm, at=at, last_checkpoint=self.last_checkpoint)
        self.optimizer.step()
        return {name: float(value) for name, value in sums.items()} | {"loss": total, "gradient_norm": norm}

    def _parts(self, n: int) -> tuple[Tensor, ...]:
        return torch.split(torch.arange(n), self.microbatch_size)

    def _in_parts(self, score: Callable[[Rollout], Tensor], rollout: Rollout) -> Tensor:
        return torch.cat([score(rollout[rows]) for rows in self._parts(len(rollout))])

    def _reference_logprobs(self, rollout: Rollout) -> Tensor:
        assert self.reference is not None
        return rollout.placed(self.reference.following_logprobs(*rollout.states()))
