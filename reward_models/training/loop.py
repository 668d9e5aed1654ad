"""Training a reward model on preferences or ratings: one forward per completion, whatever the loss."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from textrl_env.data import OnBadRow
from textrl_env.data.rows import collect
from textrl_env.reward_models.training.configs import RewardModelConfig
from textrl_env.reward_models.training.losses import BatchLoss, batch_loss, rising
from textrl_env.reward_models.training.targets import compute_targets, iterate_batches, n_batches
from textrl_env.reward_models.training_rows import TrainingRow, completions_of, training_rows_of
from textrl_env.training import Metrics, SupervisedTraining
from textrl_env.training.checkpoints import CheckpointSaver, Experiment, digest_rows

MODEL = "reward_model"
"""The model's folder in a checkpoint."""
THRESHOLD_RATE = 0.03
"""Peak learning rate of thresholds, in nats a step: whatever suits the model, they are a few single numbers that may
have to move by whole nats."""


class Trainable(Protocol):
    """A reward model, or several on one trunk."""

    @property
    def model(self) -> Any:
        """The module; its parameters that need gradients are trained."""

    def encode(self, prompt: Any, completion: str, *, where: str = "") -> list[int]:
        """Token ids; InputError, beginning with `where`, if they are too many."""

    def forward(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Scores with gradients: B token lists -> (B,), or in the form that the training's loss takes."""

    def save_pretrained(self, path: str | Path) -> None:
        """Writes it to a folder."""

    def load_parameters(self, path: str | Path) -> None:
        """Takes the parameters from such a folder, bit for bit."""


@dataclass(frozen=True)
class LossPoint:
    """The loss of one step, in nats per pair (log 2 is chance), choice or rating."""

    step: int
    loss: float


def encode_rows(
    reward_model: Trainable, rows: Sequence[TrainingRow], *, on_bad_row: OnBadRow = "error"
) -> tuple[list[TrainingRow], list[list[list[int]]]]:
    """Encodes every completion of every row; returns the rows that the model can hold, and the ids of each.

    InputError names the rows that exceed the model's context, unless `on_bad_row` is `"skip"`: those are left out then,
    with a warning.
    """

    def encode(row: TrainingRow) -> tuple[TrainingRow, list[list[int]]]:
        return row, [reward_model.encode(row.prompt, text, where=row.where) for text in completions_of(row)]

    if not rows:
        return [], []
    items = [(row.where or f"row {index}", row) for index, row in enumerate(rows)]
    pairs = collect(items, encode, source="rows for the reward model", on_bad_row=on_bad_row)
    return [row for row, _ in pairs], [ids for _, ids in pairs]


class RewardModelTraining(SupervisedTraining):
    """A reward model's training, which can be stopped between any two steps, saved, and taken up again.

    Args:
        reward_model: trained in place.
        rows: preferences or ratings, or mappings as `training_rows_of` takes them.
        config: learning rate, epochs, loss and so on.
        seed: of the order of the rows and of dropout.
        loss: of the scores of a batch.
        on_bad_row: `"error"`, or `"skip"` to leave out bad rows and those longer than the context, with a warning.

    Raises:
        InputError: no rows, rows that do not go with the loss, or bad ones (longer than the context, too), named.
    """

    def __init__(
        self,
        reward_model: Trainable,
        rows: Iterable[TrainingRow | Mapping[str, Any]],
        config: RewardModelConfig,
        *,
        seed: int = 0,
        loss: BatchLoss = batch_loss,
        on_bad_row: OnBadRow = "error",
    ) -> None:
        self.reward_model, self.config = reward_model, config
        all_rows = training_rows_of(rows, on_bad_row=on_bad_row)
        compute_targets(all_rows, config)  # What does not go with the loss is said before anything is encoded.
        fitting, self.token_ids = encode_rows(reward_model, all_rows, on_bad_row=on_bad_row)
        self.targets = compute_targets(fitting, config)
        self.thresholds = torch.nn.Parameter(self.targets.thresholds.to(next(reward_model.model.parameters()).device))
        thresholds = {"params": [self.thresholds], "lr": THRESHOLD_RATE, "weight_decay": 0.0}
        super().__init__(
            reward_model.model,
            config,
            description="reward model",
            n_steps=n_batches(len(fitting), batch_size=config.batch_size, n_epochs=config.n_epochs),
            seed=seed,
            more_groups=[thresholds] if len(self.thresholds) else [],
        )
        self.curve: list[LossPoint] = []
        self._loss, self._loss_config = loss, replace(config, loss=self.targets.loss)

    def run(
        self, *, should_stop: Callable[[], bool] = lambda: False, saver: CheckpointSaver | None = None
    ) -> list[LossPoint]:
        """Trains to the end and returns the loss of every step. Dropout is on where the model has it.

        Args:
            should_stop: asked before every step; True ends the training early, with the model as it is.
            saver: of checkpoints.
        """
        self.reward_model.model.train()
        self.run_steps(should_stop=should_stop, saver=saver, record=self._record)
        self.reward_model.model.eval()
        return self.curve

    def _record(self, metrics: Metrics) -> None:
        self.curve.append(LossPoint(self.step, metrics["loss"]))

    def iterate_batches(self) -> Iterator[list[int]]:
        """Yields row numbers, epoch by epoch, with rows of similar length side by side."""
        lengths = [max(map(len, texts)) for texts in self.token_ids]
        size, n_epochs = self.config.batch_size, self.config.n_epochs
        return iterate_batches(lengths, batch_size=size, n_epochs=n_epochs, seed=self.seed, skip=self.step)

    def compute_loss(self, rows: list[int]) -> tuple[Tensor, Metrics]:
        """Computes the loss of some rows.

        Every completion of a ranking goes through the model once; its K (K - 1) / 2 pairs share those scores (Ouyang
        et al. 2022, section 3.5).
        """
        scores = self.reward_model.forward([ids for row in rows for ids in self.token_ids[row]])
        return self._loss(scores, self.targets.batch(rows, self.device), self.thresholds, self._loss_config), {}

    def save_model(self, folder: Path) -> None:
        """Writes the reward model to `reward_model/`."""
        self.reward_model.save_pretrained(folder / MODEL)

    def load_model(self, folder: Path) -> None:
        """Takes the parameters from `reward_model/`."""
        self.reward_model.load_parameters(folder / MODEL)

    def state(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """Returns the losses of all steps, the thresholds, and the number of steps in all."""
        losses = torch.tensor([point.loss for point in self.curve], dtype=torch.float64)
        tensors = {"progress": {"losses": losses}, "thresholds": {"values": self.thresholds.detach()}}
        return tensors, {"n_steps": self.n_steps}

    def restore(self, tensors: dict[str, dict[str, Tensor]], values: dict[str, Any]) -> None:
        """Takes what `state` returned."""
        with torch.no_grad():
            self.thresholds.copy_(tensors["thresholds"]["values"])
        losses = tensors["progress"]["losses"].tolist()
        self.curve = [LossPoint(step, loss) for step, loss in enumerate(losses, start=1)]

    def fingerprint(self) -> Experiment:
        """Returns names and shapes of the parameters, seed, options, and a digest of weights, texts and labels."""
        shapes = [(name, list(value.shape)) for name, value in self.reward_model.model.named_parameters()]
        labels, margins = self.targets.labels, self.targets.margins
        rows = [
            [ids, label.tolist(), margin.tolist()]
            for ids, label, margin in zip(self.token_ids, labels, margins, strict=True)
        ]
        return {
            "parameters": digest_rows(shapes),
            "seed": self.seed,
            **asdict(self.config),
            "rows": digest_rows([self.targets.weights.tolist(), *rows]),
        }

    def describe_loss(self) -> dict[str, Any]:
        """Returns the name of the loss and its parameters, learnt or fixed, for JSON: see docs/reward_models.md."""
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


def train_reward_model(
    reward_model: Trainable,
    rows: Iterable[TrainingRow | Mapping[str, Any]],
    config: RewardModelConfig,
    *,
    seed: int = 0,
    on_bad_row: OnBadRow = "error",
    should_stop: Callable[[], bool] = lambda: False,
) -> list[LossPoint]:
    """Trains in place and returns the loss of every step; see `RewardModelTraining`, which can also be resumed."""
    return RewardModelTraining(reward_model, rows, config, seed=seed, on_bad_row=on_bad_row).run(
        should_stop=should_stop
    )
