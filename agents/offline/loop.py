"""The loop that every training on rows shares: random rows, a loss, a step of AdamW, a line in the log, checkpoints."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from textrl_env.agents.offline.configs import RowTrainingConfig
from textrl_env.agents.on_policy import run_logger
from textrl_env.errors import InputError
from textrl_env.lm.adapters import load_saved, save_model, unwrapped
from textrl_env.training import (
    adamw,
    checkpoints,
    generator_states,
    one_cycle,
    progress_bar,
    require_finite,
    restore_generators,
    seeded,
)
from textrl_env.training.checkpoints import CheckpointSaver

Metrics = dict[str, float]
Loss = Callable[[list[int]], tuple[Tensor, Metrics]]


def train_on_rows(
    model: Any,
    rows: Sequence[Any],
    loss_of: Loss,
    config: RowTrainingConfig,
    *,
    description: str,
    heldout: Callable[[], Metrics] = dict,
    log_dir: str | Path | None = None,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    saver: CheckpointSaver | None = None,
    resume: Path | None = None,
) -> Metrics:
    """Trains a model in place, in the mode (train or eval) that it is in.

    Args:
        model: its parameters that need gradients are trained.
        rows: to draw from, with replacement: all that decides a row's loss, for JSON. Checkpoints keep a digest of it.
        loss_of: the loss of some rows, by their indices, and further numbers to log.
        config: learning rate, steps and so on.
        description: of the progress bar.
        heldout: numbers to log ten times on the way.
        log_dir: for `progress.jsonl`, `progress.csv` and TensorBoard.
        seed: of the order of the rows and of dropout.
        should_stop: asked before every step; True ends the training early, with the model as it is.
        saver: of checkpoints.
        resume: a checkpoint to go on from.

    Returns:
        `loss` and the further numbers of the last step; NaN as the loss where no step was made.

    Raises:
        InputError: a checkpoint that is damaged, or of a training with other rows, options or seed.
    """
    training = _Training(model, rows, loss_of, config, seed)
    if resume is not None:
        training.load(resume)
    logger = run_logger(log_dir, verbose=0, after=training.step, counted_by="step")
    with seeded(seed, model.device), progress_bar(description, config.n_steps) as advance:
        restore_generators(training.dropout, model.device)
        advance(training.step)
        if saver:
            saver.begin((training.step, 0))
        while training.step < config.n_steps and not should_stop():
            training.advance(last_checkpoint=saver.last or resume if saver else resume)
            advance(note=f"loss {training.last['loss']:.3f}")
            logger.record("step", training.step)
            measured = heldout() if training.step % max(1, config.n_steps // 10) == 0 else {}
            for name, value in (training.last | measured).items():
                logger.record(name, value)
            logger.dump(step=training.step)
            if saver:
                saver.after_update((training.step, 0), training.save)
        if saver:
            saver.end((training.step, 0), training.save)
    logger.close()
    return training.last


class _Training:
    """All that changes from step to step; goes on from a checkpoint bit for bit as if it had not stopped."""

    def __init__(self, model: Any, rows: Sequence[Any], loss_of: Loss, config: RowTrainingConfig, seed: int) -> None:
        self.step = 0
        self.last: Metrics = {"loss": float("nan")}
        self.dropout: dict[str, Tensor] = {}
        """Where torch's global generators stood in the checkpoint."""
        self._model, self._rows, self._loss_of, self._config, self._seed = model, rows, loss_of, config, seed
        self._order = torch.Generator().manual_seed(seed)
        self._optimizer = adamw(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)

    @cached_property
    def _schedule(self) -> Any:
        config = self._config
        return one_cycle(
            self._optimizer, peak=config.learning_rate, n_steps=config.n_steps, warmup_fraction=config.warmup_fraction,
            done=self.step,
        )  # fmt: skip

    def advance(self, *, last_checkpoint: Path | None) -> None:
        """One step."""
        schedule = self._schedule
        rows = torch.randint(len(self._rows), (self._config.batch_size,), generator=self._order).tolist()
        loss, metrics = self._loss_of(rows)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = float(torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._config.max_grad_norm))
        value = float(loss.detach())
        require_finite(value, norm, at=f"step {self.step + 1}, rows {rows}", last_checkpoint=last_checkpoint)
        self._optimizer.step()
        schedule.step()
        self.step, self.last = self.step + 1, {"loss": value, **metrics}

    def save(self, path: Path) -> Path:
        """Writes a checkpoint, see `textrl_env.training.checkpoints.folder.save`."""
        generators = {"order": self._order.get_state(), **generator_states(self._model.device)}
        state = {"step": self.step, "last": self.last, "training": self._digest}
        tensors = {"optimizer": checkpoints.optimizer_tensors(self._optimizer), "generators": generators}
        return checkpoints.save(
            path, lambda folder: save_model(unwrapped(self._model), folder / "policy"), tensors, state
        )

    def load(self, path: Path) -> None:
        """Takes everything from a checkpoint."""
        path = checkpoints.check(path)
        if checkpoints.read_state(path).get("training") != self._digest:
            raise InputError(
                f"{path} is of a training with other rows, options or another seed; give the same, or start anew with "
                "--resume never"
            )
        tensors, state = checkpoints.load(
            path, lambda folder: load_saved(unwrapped(self._model), folder / "policy"), self._optimizer
        )
        self.dropout = tensors["generators"]
        self._order.set_state(self.dropout.pop("order"))
        self.step, self.last = state["step"], state["last"]

    @cached_property
    def _digest(self) -> str:
        """Of all that decides the course of the training but the model."""
        known = [self._seed, asdict(self._config), list(self._rows)]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()
