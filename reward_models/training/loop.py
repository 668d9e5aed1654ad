"""Training a reward model on preferences or ratings: one forward per completion, whatever the loss."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from textrl_env.errors import InputError
from textrl_env.reward_models.training.batch_loss import BatchLoss, batch_loss
from textrl_env.reward_models.training.batches import batches, n_batches
from textrl_env.reward_models.training.config import RewardModelConfig
from textrl_env.reward_models.training.losses import rising
from textrl_env.reward_models.training.rows import Row, completions_of
from textrl_env.reward_models.training.targets import targets_of
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

MODEL = "reward_model"
"""The model's folder in a checkpoint."""
THRESHOLD_RATE = 0.03
"""Peak learning rate of thresholds, in nats a step: whatever suits the model, they are a few single numbers that may
have to move by whole nats."""


class Trainable(Protocol):
    """What can be trained here: a reward model, or several on one trunk."""

    @property
    def model(self) -> Any:
        """The module; its parameters that need gradients are trained."""

    def encode(self, prompt: Any, completion: str, *, where: str = "") -> list[int]:
        """Token ids; InputError, beginning with `where`, if they are too many."""

    def forward(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Scores with gradients: B token lists -> (B,), or what the training's own loss takes."""

    def save_pretrained(self, path: str | Path) -> None:
        """Writes it to a folder."""

    def load_parameters(self, path: str | Path) -> None:
        """Takes the parameters from such a folder, bit for bit."""


@dataclass(frozen=True)
class LossPoint:
    """The loss of one step, in nats per pair (log 2 is chance), choice or rating."""

    step: int
    loss: float


def encode_rows(reward_model: Trainable, rows: Sequence[Row]) -> list[list[list[int]]]:
    """Token ids of every completion of every row; InputError names the row that exceeds the model's context."""
    return [[reward_model.encode(row.prompt, text, where=row.where) for text in completions_of(row)] for row in rows]


class RewardModelTraining:
    """A training that can be stopped between any two steps, saved, and taken up again.

    Args:
        reward_model: trained in place.
        rows: preferences or ratings.
        config: learning rate, epochs, loss and so on.
        seed: of the order of the rows and of dropout.
        loss: of the scores of a batch.

    Raises:
        InputError: no rows, rows that do not go with the loss, or one longer than the model's context, named.
    """

    def __init__(
        self,
        reward_model: Trainable,
        rows: Sequence[Row],
        config: RewardModelConfig,
        *,
        seed: int = 0,
        loss: BatchLoss = batch_loss,
    ) -> None:
        self.reward_model, self.config, self.seed = reward_model, config, seed
        self.targets = targets_of(rows, config)
        self.encoded = encode_rows(reward_model, rows)
        self.device: torch.device = next(reward_model.model.parameters()).device
        self.thresholds = torch.nn.Parameter(self.targets.thresholds.to(self.device))
        self.optimizer = adamw(
            reward_model.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.peaks = [config.learning_rate]
        if len(self.thresholds):
            self.peaks.append(THRESHOLD_RATE)
            self.optimizer.add_param_group({"params": [self.thresholds], "lr": THRESHOLD_RATE, "weight_decay": 0.0})
        self.n_steps = n_batches(len(rows), batch_size=config.batch_size, n_epochs=config.n_epochs)
        self.curve: list[LossPoint] = []
        self._loss = partial(
            loss, loss=self.targets.loss, label_smoothing=config.label_smoothing,
            center_rewards_coefficient=config.center_rewards_coefficient,
        )  # fmt: skip
        self._generators: dict[str, Tensor] = {}

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return len(self.curve)

    def run(
        self, *, should_stop: Callable[[], bool] = lambda: False, saver: CheckpointSaver | None = None
    ) -> list[LossPoint]:
        """Trains to the end and returns the loss of every step.

        Every completion of a ranking goes through the model once; its K (K - 1) / 2 pairs share those scores (Ouyang
        et al. 2022, section 3.5). Dropout is on where the model has it.

        Args:
            should_stop: asked before every step; True ends the training early, with the model as it is.
            saver: of checkpoints.
        """
        lengths = [max(map(len, texts)) for texts in self.encoded]
        size, n_epochs = self.config.batch_size, self.config.n_epochs
        order = batches(lengths, batch_size=size, n_epochs=n_epochs, seed=self.seed, done=self.step)
        schedule = one_cycle(self.optimizer, peak=self.peaks, n_steps=self.n_steps, done=self.step)
        self.reward_model.model.train()
        with seeded(self.seed, self.device), progress_bar("reward model", self.n_steps) as advance:
            restore_generators(self._generators, self.device)
            advance(self.step)
            if saver:
                saver.begin((self.step, 0))
            for rows in order:
                if should_stop():
                    break
                self._train_on(rows, saver)
                schedule.step()
                advance(note=f"loss {self.curve[-1].loss:.3f}")
                if saver:
                    saver.after_update((self.step, 0), self._save_running)
            self._generators = generator_states(self.device)
            if saver:
                saver.end((self.step, 0), self.save)
        self.reward_model.model.eval()
        return self.curve

    def save(self, path: str | Path) -> Path:
        """Writes a checkpoint, see `textrl_env.training.checkpoints.folder.save`."""
        tensors = {
            "optimizer": checkpoints.optimizer_tensors(self.optimizer),
            "generators": self._generators,
            "progress": {"losses": torch.tensor([point.loss for point in self.curve], dtype=torch.float64)},
            "thresholds": {"values": self.thresholds.detach()},
        }
        state = {"step": self.step, "n_steps": self.n_steps, "training": self._digest}
        return checkpoints.save(path, lambda folder: self.reward_model.save_pretrained(folder / MODEL), tensors, state)

    def load(self, path: str | Path) -> "RewardModelTraining":
        """Takes everything from a checkpoint; `run` then goes on from there.

        Raises:
            InputError: no checkpoint there, a damaged one, or one of a training with another model, rows, options or
                seed.
        """
        path = checkpoints.check(path)
        if checkpoints.read_state(path).get("training") != self._digest:
            raise InputError(
                f"{path} is of a training with another model, rows, options or seed; give the same, or start anew with "
                "--resume never"
            )
        tensors, _ = checkpoints.load(
            path, lambda folder: self.reward_model.load_parameters(folder / MODEL), self.optimizer
        )
        with torch.no_grad():
            self.thresholds.copy_(tensors["thresholds"]["values"])
        self.curve = [LossPoint(at, loss) for at, loss in enumerate(tensors["progress"]["losses"].tolist(), start=1)]
        self._generators = tensors["generators"]
        return self

    def learned(self) -> dict[str, Any]:
        """The loss, and what it learned or fixed beside the scores, for JSON: see docs/reward_models.md."""
        match self.targets.loss:
            case "davidson":
                more: dict[str, Any] = {"log_tie": float(self.thresholds.detach())}
            case "ordinal":
                cutpoints = rising(self.thresholds.detach()).tolist()
                more = {"ratings": list(self.targets.categories), "cutpoints": cutpoints}
            case "regression":
                more = dict(zip(("rating_mean", "rating_std"), self.targets.scale, strict=True))
            case _:
                more = {}
        return {"name": self.targets.loss, **more}

    def _save_running(self, path: Path) -> Path:
        self._generators = generator_states(self.device)
        return self.save(path)

    @cached_property
    def _digest(self) -> str:
        """Of all that decides the course of the training, of the model only names and shapes."""
        shapes = [(name, list(value.shape)) for name, value in self.reward_model.model.named_parameters()]
        known: list[Any] = [shapes, self.seed, asdict(self.config), self.targets.weights.tolist()]
        labels, margins = self.targets.labels, self.targets.margins
        known += [[ids, *map(Tensor.tolist, said)] for ids, *said in zip(self.encoded, labels, margins, strict=True)]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()

    def _train_on(self, rows: list[int], saver: CheckpointSaver | None) -> None:
        """One step."""
        scores = self.reward_model.forward([ids for row in rows for ids in self.encoded[row]])
        loss = self._loss(scores, self.targets.batch(rows, self.device), self.thresholds)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        norm = float(torch.nn.utils.clip_grad_norm_(trained, self.config.max_grad_norm))
        point = LossPoint(self.step + 1, float(loss.detach()))
        last = saver and saver.last
        require_finite(point.loss, norm, at=f"step {point.step}, rows {rows}", last_checkpoint=last)
        self.optimizer.step()
        self.curve.append(point)


def train_reward_model(
    reward_model: Trainable,
    rows: Sequence[Row],
    config: RewardModelConfig,
    *,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[LossPoint]:
    """Trains in place and returns the loss of every step; see `RewardModelTraining`, which can also be resumed."""
    return RewardModelTraining(reward_model, rows, config, seed=seed).run(should_stop=should_stop)
