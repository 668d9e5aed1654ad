"""The supervised loop of SFT, DPO, KTO and reward models: batches of rows, a loss, a step of AdamW, checkpoints."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from textrl_env.training import checkpoints
from textrl_env.training.checkpoints import CheckpointSaver, Experiment
from textrl_env.training.optimizer import adamw, one_cycle, require_finite
from textrl_env.training.seeding import generator_states, restore_generators, seeded
from textrl_env.training.terminal import progress_bar

Metrics = dict[str, float]
TensorFiles = dict[str, dict[str, Tensor]]
"""Tensors of a checkpoint, by file and name."""


class OptimizerConfig(Protocol):
    """Options that every supervised training has."""

    @property
    def learning_rate(self) -> float:
        """Peak of the one cycle; above 0."""

    @property
    def weight_decay(self) -> float:
        """AdamW's; 0 or more."""

    @property
    def max_grad_norm(self) -> float:
        """Longer gradients are scaled to it; above 0."""


class SupervisedTraining(ABC):
    """A training that can be stopped between any two steps, saved, and taken up again with the same bits.

    A subclass says which batches come (`iterate_batches`), what they cost (`compute_loss`), and what a checkpoint holds
    beside optimizer and generators.

    Args:
        model: a module, trained in place in the mode (train or eval) that it is in; its parameters that need gradients
            are optimised by AdamW.
        config: peak learning rate of the one cycle, weight decay, and the norm to which longer gradients are scaled.
        description: of the progress bar.
        n_steps: optimizer steps in all.
        seed: of torch's global generators while training runs, so of dropout.
        warmup_fraction: share of the steps over which the learning rate rises.
        more_groups: parameter groups beside the model's, each with `params`, `lr` (its peak) and more.
    """

    def __init__(
        self,
        model: Any,
        config: OptimizerConfig,
        *,
        description: str,
        n_steps: int,
        seed: int,
        warmup_fraction: float = 0.1,
        more_groups: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.description, self.n_steps, self.seed = description, n_steps, seed
        self.step = 0
        """Optimizer steps done."""
        self.experiment: Experiment = {}
        """What the caller knows beside `fingerprint`: where the rows and the model come from. Checkpoints hold both."""
        self.metrics: Metrics = {"loss": float("nan")}
        """The loss of the last step and further numbers."""
        self.device: torch.device = next(model.parameters()).device
        self.optimizer = adamw(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        for group in more_groups:
            self.optimizer.add_param_group(dict(group))
        self._peaks = [group["lr"] for group in self.optimizer.param_groups]
        self._warmup_fraction, self._max_grad_norm = warmup_fraction, config.max_grad_norm
        self._generators: dict[str, Tensor] = {}
        """Where torch's global generators stand between two runs."""
        self._last_checkpoint: Path | None = None

    @abstractmethod
    def iterate_batches(self) -> Iterator[list[int]]:
        """Yields the row numbers of each batch from step `self.step` on; the next batch is drawn when it is due."""

    @abstractmethod
    def compute_loss(self, rows: list[int]) -> tuple[Tensor, Metrics]:
        """Computes the loss of some rows, a number with gradients, and further numbers to log."""

    @abstractmethod
    def save_model(self, folder: Path) -> None:
        """Writes what is trained into a checkpoint's folder."""

    @abstractmethod
    def load_model(self, folder: Path) -> None:
        """Takes the parameters that `save_model` wrote, bit for bit."""

    @abstractmethod
    def state(self) -> tuple[TensorFiles, dict[str, Any]]:
        """Returns what else a checkpoint holds: tensors by file and name, and values for JSON."""

    @abstractmethod
    def restore(self, tensors: TensorFiles, values: dict[str, Any]) -> None:
        """Takes what `state` returned."""

    @abstractmethod
    def fingerprint(self) -> Experiment:
        """Returns what decides the course of the training; a checkpoint of another one is refused."""

    def run_steps(
        self,
        *,
        should_stop: Callable[[], bool] = lambda: False,
        saver: CheckpointSaver | None = None,
        record: Callable[[Metrics], None] = lambda metrics: None,
    ) -> Metrics:
        """Trains to the end, or until it is stopped; returns the metrics of the last step.

        Args:
            should_stop: asked before every step; True ends the training early, with the model as it is.
            saver: of checkpoints, on the way and at the end.
            record: called after every step with its metrics.

        Raises:
            InputError: a loss or a gradient that is not finite, or a last checkpoint that could not be written.
        """
        schedule = one_cycle(
            self.optimizer,
            peak=self._peaks,
            n_steps=self.n_steps,
            warmup_fraction=self._warmup_fraction,
            steps_before=self.step,
        )
        with seeded(self.seed, self.device), progress_bar(self.description, self.n_steps) as advance:
            restore_generators(self._generators, self.device)
            advance(self.step)
            if saver:
                saver.begin((self.step, 0))
            batches = self.iterate_batches()
            while self.step < self.n_steps and not should_stop():
                self._take_step(next(batches))
                schedule.step()
                advance(note=f"loss {self.metrics['loss']:.3f}")
                record(self.metrics)
                if saver:
                    saver.after_update((self.step, 0), self._save_running)
                    self._last_checkpoint = saver.last or self._last_checkpoint
            self._generators = generator_states(self.device)
            if saver:
                saver.end((self.step, 0), self.save)
        return self.metrics

    def save(self, path: str | Path) -> Path:
        """Writes a checkpoint, see `textrl_env.training.checkpoints.save`; returns its path."""
        tensors, values = self.state()
        tensors = {
            **tensors,
            "optimizer": checkpoints.optimizer_tensors(self.optimizer),
            "generators": self._generators | tensors.get("generators", {}),
        }
        state = {"step": self.step, **values, "experiment": checkpoints.as_record(self._experiment())}
        return checkpoints.save(path, self.save_model, tensors, state)

    def load(self, path: str | Path) -> Self:
        """Takes everything from a checkpoint; the next run goes on from there.

        Raises:
            InputError: no checkpoint there, a damaged one, or one of another experiment; what differs is named.
        """
        checkpoints.require_same_experiment(path, self._experiment())
        tensors, values = checkpoints.load(path, self.load_model, self.optimizer)
        path = Path(path)
        with checkpoints.fitting(path):
            self.step, self._generators, self._last_checkpoint = values["step"], tensors["generators"], path
            self.restore(tensors, values)
        return self

    def _experiment(self) -> Experiment:
        return {"training": self.description, **self.fingerprint(), **self.experiment}

    def _save_running(self, path: Path) -> Path:
        self._generators = generator_states(self.device)
        return self.save(path)

    def _take_step(self, rows: list[int]) -> None:
        loss, metrics = self.compute_loss(rows)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, self._max_grad_norm))
        value = float(loss.detach())
        where = f"step {self.step + 1}, rows {rows}"
        require_finite(value, norm, terms=metrics, at=where, last_checkpoint=self._last_checkpoint)
        self.optimizer.step()
        self.step, self.metrics = self.step + 1, {"loss": value, **metrics}
