"""Variants of a reward model by the part that is trained: all weights, adapters (LoRA), the head alone, an ensemble."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from textrl_env.data import OnBadRow
from textrl_env.lm.adapters import with_lora
from textrl_env.reward_models.model import RewardEnsemble, RewardModel, forward_by_length
from textrl_env.reward_models.training.configs import RewardModelConfig, RewardModelKind
from textrl_env.reward_models.training.loop import RewardModelTraining, encode_rows
from textrl_env.reward_models.training.losses import MemberLoss, bootstrap_counts
from textrl_env.reward_models.training_rows import TrainingRow
from textrl_env.training import progress_bar


class FrozenTrunk:
    """A reward model, or an ensemble, whose head alone is trained: `RewardModelTraining` takes it in the model's place.

    Texts that were encoded before the first forward go through the trunk once, packed and without gradients; every
    step after that is the head's alone, (B, H) times (H, 1). Dropout is off in the trunk.

    Args:
        reward_model: with a linear head; its trunk is set to need no gradients.

    Raises:
        InputError: the classifier's head is not linear.
    """

    def __init__(self, reward_model: RewardModel) -> None:
        self.reward_model, self.model = reward_model, reward_model.head
        reward_model.model.base_model.requires_grad_(False)
        reward_model.model.eval()
        self._places: dict[tuple[int, ...], int] = {}
        self._features: Tensor | None = None

    def encode(self, prompt: Any, completion: str, *, where: str = "") -> list[int]:
        """Encodes as the reward model does; remembers the text for the one pass through the trunk."""
        ids = self.reward_model.encode(prompt, completion, where=where)
        self._places.setdefault(tuple(ids), len(self._places))
        return ids

    def forward(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Scores texts that were encoded before, as `reward_model.forward` does, with gradients of the head alone."""
        if self._features is None:
            self._features = self._compute_features()
        places = torch.tensor([self._places[tuple(ids)] for ids in sequences], device=self._features.device)
        return self.reward_model.read(self._features[places])

    def save_pretrained(self, path: str | Path) -> None:
        """Writes the whole reward model."""
        self.reward_model.save_pretrained(path)

    def load_parameters(self, path: str | Path) -> None:
        """Takes a reward model's parameters; drops features of the old ones."""
        self.reward_model.load_parameters(path)
        self._features = None

    @torch.no_grad()
    def _compute_features(self) -> Tensor:
        """The features of all texts, (N, H)."""
        with progress_bar("features", len(self._places)) as advance:

            def read_batch(sequences: Sequence[Sequence[int]]) -> Tensor:
                advance(len(sequences))
                return self.reward_model.features(sequences)

            return forward_by_length(read_batch, list(self._places))


def create_reward_model(folder: str | Path, kind: RewardModelKind, *, seed: int) -> RewardModel:
    """Creates a reward model, ready to be trained, on the model in a folder; new weights are drawn from the seed.

    Raises:
        InputError: no model there, or one that the kind does not go with.
    """
    reward_model = RewardModel.from_pretrained(folder, seed=seed)
    # Of one that was normalised: training makes differences of scores log odds again.
    for name in ("score_offset", "score_unit"):
        vars(reward_model.model.config).pop(name, None)
    if kind.train == "lora":
        with_lora(reward_model.model, rank=kind.lora_rank, alpha=2.0 * kind.lora_rank, seed=seed)
    if kind.members > 1:
        return RewardEnsemble.around(reward_model, n_members=kind.members, seed=seed)
    return reward_model


def create_training(
    reward_model: RewardModel,
    kind: RewardModelKind,
    rows: Sequence[TrainingRow],
    config: RewardModelConfig,
    *,
    seed: int,
    on_bad_row: OnBadRow = "error",
) -> RewardModelTraining:
    """Creates the training of the parts that `kind` names; see `RewardModelTraining` for the errors raised."""
    part = FrozenTrunk(reward_model) if kind.train == "head" else reward_model
    if on_bad_row == "skip":
        rows, _ = encode_rows(part, rows, on_bad_row=on_bad_row)
    if kind.members == 1:
        return RewardModelTraining(part, rows, config, seed=seed)
    loss = MemberLoss(bootstrap_counts(len(rows), kind.members, seed=seed))
    return RewardModelTraining(part, rows, config, seed=seed, loss=loss)


@torch.no_grad()
def settle_scores(reward_model: RewardModel, kind: RewardModelKind, training: RewardModelTraining) -> None:
    """Fixes what preferences leave open: a common zero of an ensemble's members, and a unit of all scores if asked for.

    The scores are those of the completions of the training; with a frozen trunk that takes no further pass.
    """
    if kind.members == 1 and not kind.normalize:
        return
    texts = [ids for row in training.token_ids for ids in row]
    scores = forward_by_length(training.reward_model.forward, texts).double().cpu().numpy()
    if kind.normalize:
        reward_model.normalize_by(scores)
    elif isinstance(reward_model, RewardEnsemble):
        reward_model.centre_by(scores)
