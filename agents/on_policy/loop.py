"""The loop that every on-policy algorithm here shares: collect whole completions, compute targets, update, log."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from numbers import Real
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from stable_baselines3.common.logger import Logger
from torch import Tensor

from textrl_env.agents.callbacks import MaybeCallback, as_callback
from textrl_env.agents.maths import kl_loss
from textrl_env.agents.on_policy.learner import Learner, Update
from textrl_env.agents.on_policy.options import OnPolicyOptions
from textrl_env.agents.on_policy.run_log import SilentLogger, critic_tags, flush_log, rollout_tags, run_logger
from textrl_env.agents.on_policy.training_state import TrainingPlan, TrainingState, load_training, save_training
from textrl_env.agents.processes import join_processes
from textrl_env.agents.rollout import Batch, Rollout, Targets
from textrl_env.agents.rollouts import collect_in_processes
from textrl_env.errors import InputError, require_seed
from textrl_env.mdp import TextGenVectorEnv
from textrl_env.training.checkpoints import Experiment, require_same_experiment


class OnPolicyAlgorithm(OnPolicyOptions, ABC):
    """`learn`, `predict`, `save` and `load` as in Stable-Baselines3; one timestep is one token.

    A new algorithm is a subclass with `advantages(rollout)` and `loss(batch)`. The arguments are the fields of
    `OnPolicyOptions`: `policy` and `env`, and keywords. A subclass with options of its own, or other defaults, is a
    dataclass with them as fields, as `PPO` is.

    Attributes:
        state: how far training is.
        experiment: what decides the course of the training, by name; `load` refuses a checkpoint that has another.
        rollout: the last one.
        interrupted: True where `should_stop` ended the last call of `learn`.
        last_checkpoint: the folder that was saved or loaded last, or None.

    Raises:
        InputError: an impossible option, named.
    """

    needs_critic: ClassVar[bool] = False
    """Whether the policy must come with a critic."""

    rollout: Rollout

    def __post_init__(self) -> None:
        super().__post_init__()
        self.processes = join_processes(self.policy.device)
        self.check_processes(self.processes.count)
        if self.needs_critic and self.policy.critic_kind == "none":
            raise InputError(f"{type(self).__name__} learns with a critic; make the policy with critic='separate'")
        self.state = TrainingState()
        self.experiment: Experiment = {}
        self.interrupted = False
        self.last_checkpoint: Path | None = None
        self.learner = Learner(self, self.processes)
        self.generator = torch.Generator().manual_seed(require_seed(self.seed))
        self.policy.generator.manual_seed(require_seed(self.processes.seed(self.seed)))
        self.env.share_prompts(self.processes.index, self.processes.count)
        self.env.reset(seed=self.processes.seed(self.seed))

    @abstractmethod
    def advantages(self, rollout: Rollout) -> Targets:
        """Computes the targets of a fresh rollout; called once per update, without gradients."""

    @abstractmethod
    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the loss of some episodes and scalars to log.

        All are summed with `batch.weights`, so that parts of a minibatch add up.
        """

    def weights(self, mask: Tensor) -> Tensor:
        """Returns the share of each token in a minibatch's loss, (B, C) -> (B, C); here all that count weigh alike."""
        return mask / mask.sum()

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
        stopped half-way is undone, and will be collected with the same draws; an update is finished by `learn()`.
        What callbacks log at the end of training is a last row of its own. Where several processes train together, all
        stop where one is told to.

        Args:
            total_timesteps: tokens to train on from now.
            callback: one, several, or a function of locals and globals.
            log_interval: updates between two rows of the log.
            progress_bar: shows one on stderr.
            total_updates: updates to make from now, instead of `total_timesteps`.
            should_stop: says whether to stop.
        """
        plan = self._begin(total_timesteps, total_updates)

        def stop() -> bool:
            return self.processes.any_of(should_stop())

        callbacks = as_callback(callback, progress_bar=progress_bar)
        # SB3's callbacks ask an algorithm for `logger`, `num_timesteps` and `get_env()`, which this one has too.
        callbacks.init_callback(self)  # type: ignore[arg-type]
        first_timestep, start_time = self.num_timesteps, time.perf_counter()
        self._total_timesteps = plan.total_timesteps or 0
        callbacks.on_training_start(locals(), globals())
        while not stop():
            if self.state.update is None:
                if (progress := self.state.progress) >= 1:
                    break
                callbacks.on_rollout_start()
                if not self._collect(lambda: callbacks.on_step() and not should_stop()):
                    break
                callbacks.on_rollout_end()
                self.state.update = self._new_update(self.rollout, self.learner.learning_rate(1 - progress))
            if not self._finish_update(self.state.update, stop):
                break
            if self.n_updates % log_interval == 0:
                self.state.last_row = self._pending_row()
                fps = int((self.num_timesteps - first_timestep) / (time.perf_counter() - start_time))
                self.logger.record("time/fps", fps, exclude="tensorboard")
                self._write_row()
        self.interrupted = stop()
        callbacks.on_training_end()
        self.log_rest()
        return self

    def log_rest(self) -> bool:
        """Makes a row of what has none, if anything; an update that was stopped has its numbers in its checkpoint."""
        if has_rest := self.state.update is None and bool(self.logger.name_to_value):
            self._write_row()
        return has_rest

    def predict(self, observation: dict[str, np.ndarray], deterministic: bool = False) -> tuple[np.ndarray, None]:
        """Chooses tokens for a batch of observations, (N, L) -> (N,); returns them, and None as SB3's models do."""
        return self.policy.act(observation, deterministic=deterministic)[0], None

    def get_env(self) -> TextGenVectorEnv:
        """Returns the environment; SB3's callbacks ask for it."""
        return self.env

    def save(self, path: str | Path) -> Path:
        """Writes a checkpoint folder (policy/, critic/, trainer/, manifest.json), whole or not at all; returns it.

        InputError where it cannot be written. `learn()` after `load` goes on as if training had never stopped.
        """
        pending = {} if self.state.update is None else self._pending_row()
        flush_log(self.logger)
        self.last_checkpoint = save_training(self, path, pending=pending)
        return self.last_checkpoint

    def load(self, path: str | Path) -> "OnPolicyAlgorithm":
        """Takes the state of training from a checkpoint folder, of the same experiment and model; returns itself."""
        require_same_experiment(path, self.experiment)
        pending = load_training(self, path)
        if self.state.update is not None:
            self.rollout = self.state.update.rollout
        # The log is opened anew where the checkpoint stands.
        if (logger := self.__dict__.pop("logger", None)) is not None:
            logger.close()
        self._record(pending)
        self.last_checkpoint = Path(path)
        return self

    @property
    def num_timesteps(self) -> int:
        """Tokens trained on."""
        return self.state.num_timesteps

    @property
    def n_updates(self) -> int:
        """Updates made."""
        return self.state.n_updates

    @property
    def position(self) -> tuple[int, int]:
        """Updates made, and minibatches learnt from in one that was stopped."""
        return self.state.position

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Adam, over the policy's parameters."""
        return self.learner.optimizer

    @cached_property
    def logger(self) -> Logger:
        """Opened when it is first used, so that a run that was loaded goes on in its files and another starts anew."""
        if not self.processes.writes:
            return SilentLogger()
        return run_logger(self.log_dir, verbose=self.verbose, after=self.n_updates, n_lines=self.state.n_lines)

    def kl_loss(self, logprobs: Tensor, batch: Batch) -> Tensor:
        """Computes the KL term of the loss for new log-probabilities (B, C); 0 without one."""
        reference = batch.targets.ref_logprobs
        if reference is None:
            return logprobs.new_zeros(())
        return self.kl_loss_coef * kl_loss(logprobs - reference, batch.weights, estimator=self.kl_loss_estimator)

    def values(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Computes values of the states before each token, (B, C), and after a cut completion, (B,), else 0."""
        # A cut completion has the full length, so the state after its last token is the last one read.
        after = bool(rollout.truncated.any())
        values = self.learner.score_in_parts(partial(self.policy.values, after=after), rollout)
        if not after:
            return values, rollout.scores.new_zeros(len(rollout))
        return values[:, :-1], values[:, -1] * rollout.truncated

    def _begin(self, total_timesteps: int | None, total_updates: int | None) -> TrainingPlan:
        """Makes a plan, or goes on with the one that was stopped."""
        state = self.state
        if state.plan is None or total_timesteps is not None or total_updates is not None:
            state.plan = TrainingPlan(state.num_timesteps, state.n_updates, total_timesteps, total_updates)
            state.update = None
        updates, minibatches = state.position
        self.processes.require_same(
            "the state of training", {"updates": updates, "minibatches": minibatches, "tokens": state.num_timesteps}
        )
        return state.plan

    def _collect(self, on_step: Callable[[], bool]) -> bool:
        """Collects the next rollout; False where `on_step` said stop."""
        # The coefficient that the rollout is paid with; a controller may change it at the end.
        kl_coef = self.env.kl_coef
        rollout = collect_in_processes(
            self.env,
            self.policy,
            self.n_episodes,
            group_size=self.group_size,
            on_step=on_step,
            processes=self.processes,
        )
        if rollout is None:
            return False
        self.rollout = rollout
        self.state.num_timesteps += rollout.n_tokens
        self._record(rollout_tags(rollout, kl_coef=kl_coef))
        # Seldom more than 0, and then worth a column.
        if n_truncated := self.env.task.rewards.n_truncated:
            self._record({"rollout/n_truncated": float(n_truncated)})
        return True

    def _new_update(self, rollout: Rollout, learning_rate: float) -> Update:
        with torch.no_grad():
            targets = self.advantages(rollout)
            if self.kl_loss_coef and (reference := self.reference) is not None:
                logprobs = self.learner.score_in_parts(
                    lambda part: part.place(
                        reference.following_logprobs(*part.states(), allowed=part.allowed_tokens())
                    ),
                    rollout,
                )
                targets = replace(targets, ref_logprobs=logprobs)
        self._record(critic_tags(targets.values, targets.returns, rollout.completion_mask))
        minibatches = self.learner.draw_minibatches(len(rollout), self.generator)
        return Update(rollout, targets, minibatches, learning_rate)

    def _finish_update(self, update: Update, should_stop: Callable[[], bool]) -> bool:
        """Learns from the update's remaining minibatches; False where `should_stop` left some for later."""
        place = f"update {self.n_updates + 1}"
        if not self.learner.finish(
            update, self, should_stop=should_stop, place=place, last_checkpoint=self.last_checkpoint
        ):
            return False
        self.state.update = None
        self.state.n_updates += 1
        self._record({f"train/{name}": value for name, value in update.means().items()})
        self._record({"train/learning_rate": update.learning_rate})
        return True

    def _record(self, tags: dict[str, float]) -> None:
        for name, value in tags.items():
            self.logger.record(name, value)

    def _pending_row(self) -> dict[str, float]:
        """Returns the numbers that wait for the next row of the log."""
        return {name: float(value) for name, value in self.logger.name_to_value.items() if isinstance(value, Real)}

    def _write_row(self) -> None:
        self._record({"time/iterations": self.n_updates, "time/total_timesteps": self.num_timesteps})
        self.logger.dump(step=self.num_timesteps)
