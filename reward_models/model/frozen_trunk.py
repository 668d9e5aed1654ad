"""Training the head alone: what it reads of every completion is computed once, and the trunk is not run again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from textrl_env.reward_models.model.reward_model import RewardModel, by_length
from textrl_env.training import progress_bar


class FrozenTrunk:
    """A reward model, or an ensemble, whose head alone is trained: `RewardModelTraining` takes it in the model's place.

    What was encoded before the first forward goes through the trunk once, packed and without gradients; every step
    after that is the head's alone, (B, H) times (H, 1). Dropout is off in the trunk.

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
        """As the reward model does; remembers the text for the one pass through the trunk."""
        ids = self.reward_model.encode(prompt, completion, where=where)
        self._places.setdefault(tuple(ids), len(self._places))
        return ids

    def forward(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """What `reward_model.forward` says, with gradients of the head alone; the texts are those encoded before."""
        if self._features is None:
            self._features = self._pass()
        places = torch.tensor([self._places[tuple(ids)] for ids in sequences], device=self._features.device)
        return self.reward_model.read(self._features[places])

    def save_pretrained(self, path: str | Path) -> None:
        """Writes the whole reward model."""
        self.reward_model.save_pretrained(path)

    def load_parameters(self, path: str | Path) -> None:
        """Takes a reward model's parameters; what was computed with the old ones is dropped."""
        self.reward_model.load_parameters(path)
        self._features = None

    @torch.no_grad()
    def _pass(self) -> Tensor:
        """The features of all texts, (N, H)."""
        with progress_bar("features", len(self._places)) as advance:

            def features(sequences: Sequence[Sequence[int]]) -> Tensor:
                advance(len(sequences))
                return self.reward_model.features(sequences)

            return by_length(features, list(self._places))
