"""Training a causal LM on rows that are drawn at random with replacement: what SFT, DPO and KTO share."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypedDict

import torch
from stable_baselines3.common.logger import Logger
from torch import Tensor

from textrl_env.agents.offline.configs import RowTrainingConfig
from textrl_env.agents.on_policy import flush_log, run_logger
from textrl_env.errors import require_seed
from textrl_env.lm.adapters import load_saved, save_model, unwrap
from textrl_env.training import Metrics, SupervisedTraining
from textrl_env.training.checkpoints import CheckpointSaver, Experiment, digest_rows

LossOfRows = Callable[[list[int]], tuple[Tensor, Metrics]]


class RowRun(TypedDict, total=False):
    """Keywords of one run of a training on rows, which SFT, DPO and KTO hand on to `train_on_rows`.

    Attributes:
        log_dir: for `progress.jsonl`, `progress.csv` and TensorBoard.
        seed: of the order of the rows and of dropout.
        should_stop: asked before every step; True ends the training early, with the model as it is.
        saver: of checkpoints.
        resume: a checkpoint to go on from; everything else must be as it was, the model too.
        experiment: what else decides the course of the training, such as digests of the files that rows and model come
            from; checkpoints hold it, and one that has another is refused.
    """

    log_dir: str | Path | None
    seed: int
    should_stop: Callable[[], bool]
    saver: CheckpointSaver | None
    resume: Path | None
    experiment: Experiment


class RowTraining(SupervisedTraining):
    """A causal LM's training on rows; see `train_on_rows`."""

    def __init__(
        self,
        model: Any,
        rows: Sequence[Any],
        loss_of: LossOfRows,
        *,
        config: RowTrainingConfig,
        description: str,
        seed: int = 0,
    ) -> None:
        super().__init__(
            model,
            config,
            description=description,
            n_steps=config.n_steps,
            seed=seed,
            warmup_fraction=config.warmup_fraction,
        )
        self._model, self._rows, self._config, self._loss_of = model, rows, config, loss_of
        self._order = torch.Generator().manual_seed(require_seed(seed))
        self.logger: Logger | None = None
        """The log whose rows a checkpoint counts on."""

    def iterate_batches(self) -> Iterator[list[int]]:
        """Yields random row numbers without end."""
        while True:
            yield torch.randint(len(self._rows), (self._config.batch_size,), generator=self._order).tolist()

    def compute_loss(self, rows: list[int]) -> tuple[Tensor, Metrics]:
        """Computes the loss of some rows, and further numbers to log."""
        return self._loss_of(rows)

    def save(self, path: str | Path) -> Path:
        """Writes a checkpoint once the rows of the log up to here are on the disk; returns its path."""
        if self.logger is not None:
            flush_log(self.logger)
        return super().save(path)

    def save_model(self, folder: Path) -> None:
        """Writes the model, or its adapters, to `policy/`."""
        save_model(unwrap(self._model), folder / "policy")

    def load_model(self, folder: Path) -> None:
        """Takes the parameters from `policy/`."""
        load_saved(unwrap(self._model), folder / "policy")

    def state(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """Returns the state of the generator that draws rows, and the last metrics."""
        return {"generators": {"order": self._order.get_state()}}, {"last": self.metrics}

    def restore(self, tensors: dict[str, dict[str, Tensor]], values: dict[str, Any]) -> None:
        """Takes what `state` returned."""
        self._order.set_state(tensors["generators"]["order"])
        self.metrics = values["last"]

    def fingerprint(self) -> Experiment:
        """Returns names and shapes of the parameters, seed, options, and a digest of the rows."""
        shapes = [(name, list(value.shape)) for name, value in self._model.named_parameters()]
        return {
            "parameters": digest_rows(shapes),
            "seed": self.seed,
            **asdict(self._config),
            "rows": digest_rows(list(self._rows)),
        }


def train_on_rows(
    model: Any,
    rows: Sequence[Any],
    loss_of: LossOfRows,
    config: RowTrainingConfig,
    *,
    description: str,
    heldout: Callable[[], Metrics] = dict,
    log_dir: str | Path | None = None,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    saver: CheckpointSaver | None = None,
    resume: Path | None = None,
    experiment: Experiment = MappingProxyType({}),
) -> Metrics:
    """Trains a model in place, in the mode (train or eval) that it is in.

    Args:
        model: its parameters that need gradients are trained.
        rows: to draw from, with replacement: all that decides a row's loss, for JSON. Checkpoints keep a digest of it.
        loss_of: the loss of some rows, by their indices, and further numbers to log.
        config: learning rate, steps and so on.
        description: of the progress bar.
        heldout: numbers to log ten times on the way.
        log_dir: as in `RowRun`.
        seed: as in `RowRun`.
        should_stop: as in `RowRun`.
        saver: as in `RowRun`.
        resume: as in `RowRun`.
        experiment: as in `RowRun`.

    Returns:
        `loss` and the further numbers of the last step; NaN as the loss where no step was made.

    Raises:
        InputError: a checkpoint that is damaged, or of a training with other rows, options or seed, named.
    """
    training = RowTraining(model, rows, loss_of, config=config, description=description, seed=seed)
    training.experiment = experiment
    if resume is not None:
        training.load(resume)
    if saver is not None:
        # Before the log of an earlier course of the run is replaced: without its rows no checkpoint of it may stay.
        saver.begin((training.step, 0))
    logger = run_logger(log_dir, verbose=0, after=training.step, counted_by="step")
    training.logger = logger

    def record(metrics: Metrics) -> None:
        heldout_metrics = heldout() if training.step % max(1, config.n_steps // 10) == 0 else {}
        logger.record("step", training.step)
        for name, value in (metrics | heldout_metrics).items():
            logger.record(name, value)
        logger.dump(step=training.step)

    metrics = training.run_steps(should_stop=should_stop, saver=saver, record=record)
    logger.close()
    return metrics
