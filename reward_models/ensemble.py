"""Ensembles of reward models: members that disagree where the preferences they saw do not decide."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from textrl_env.conversations import Prompt
from textrl_env.errors import InputError, require_at_least
from textrl_env.precision import Precision
from textrl_env.reward_models.reward_model import MEMBERS, RewardModel, by_length
from textrl_env.seeded import seeded


class RewardEnsemble(RewardModel):
    """K linear heads on one trunk; its score is their mean.

    Scoring costs what one reward model costs. The members differ in the preferences they were trained on and in where
    they started (Osband et al. 2016); they share the trunk's features, and its blind spots with them: what the trunk
    does not see, no member doubts. Members with a trunk of their own are `IndependentEnsemble`.

    The mean of linear heads is a linear head, so a saved ensemble is an ordinary reward model, which
    `AutoModelForSequenceClassification` and `RewardModel.from_pretrained` load, with its members in one further file.

    Args:
        model, tokenizer, precision: as for `RewardModel`; the model's own head is replaced by the mean when saved.
        members: K >= 2 heads as one layer from H to K; its biases are the members' offsets.
    """

    def __init__(self, model: Any, tokenizer: Any, members: nn.Linear, *, precision: Precision = "float32") -> None:
        super().__init__(model, tokenizer, precision=precision)
        require_at_least(2, members=members.out_features)
        self.members = members.to(self.head.weight.device, self.head.weight.dtype)

    @classmethod
    def around(cls, reward_model: RewardModel, *, n_members: int, seed: int = 0) -> "RewardEnsemble":
        """New heads, drawn from `seed` as transformers draws a classifier's, on a reward model's trunk; shared."""
        head = reward_model.head
        members = nn.Linear(head.in_features, n_members)
        with seeded(seed):
            nn.init.normal_(members.weight, std=reward_model.model.config.get_text_config().initializer_range)
        nn.init.zeros_(members.bias)
        # What a preference compares does not depend on it.
        members.bias.requires_grad_(False)
        return cls(reward_model.model, reward_model.tokenizer, members, precision=reward_model.precision)

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, dtype: torch.dtype = torch.float32, layers: int | None = None, seed: int = 0
    ) -> "RewardEnsemble":
        """From a folder that `save_pretrained` wrote."""
        file = Path(path) / MEMBERS
        if not file.is_file():
            raise InputError(f"{path}: no ensemble here (no {MEMBERS}); a single reward model is read by RewardModel")
        mean = RewardModel.from_pretrained(path, dtype=dtype, layers=layers, seed=seed)
        tensors = load_file(file)
        expected = mean.head.in_features
        if tensors.keys() != {"weight", "bias"} or tensors["weight"].shape != (len(tensors["bias"]), expected):
            found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
            raise InputError(f"{file}: expected weight (K, {expected}) and bias (K,), found {found}; train it again")
        members = nn.Linear(expected, len(tensors["bias"]))
        members.load_state_dict(tensors)
        members.bias.requires_grad_(False)
        return cls(mean.model, mean.tokenizer, members)

    def save_pretrained(self, path: str | Path) -> None:
        """Writes the mean as an ordinary reward model, and the members beside it."""
        with torch.no_grad():
            self.head.weight.copy_(self.members.weight.mean(dim=0, keepdim=True))
            self.model.config.score_offset = float(self.members.bias.mean())
        super().save_pretrained(path)
        state = {name: value.detach().cpu().contiguous() for name, value in self.members.state_dict().items()}
        save_file(state, Path(path) / MEMBERS)

    def forward(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Mean scores with gradients: B token lists -> (B,)."""
        return self.member_forward(sequences).mean(dim=1)

    def member_forward(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """The members' scores with gradients: B token lists -> (B, K)."""
        scores: Tensor = self.members(self.features(sequences))
        return scores.float()

    @torch.inference_mode()
    def member_scores(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> npt.NDArray[np.float64]:
        """The members' scores without gradients: B prompts, B completions -> (B, K)."""
        self.model.eval()
        sequences = [self.encode(*pair) for pair in zip(prompts, completions, strict=True)]
        return by_length(self.member_forward, sequences).double().cpu().numpy()

    @torch.no_grad()
    def centre_members(self, sequences: Sequence[Sequence[int]]) -> None:
        """Gives every member mean 0 over these texts; without it the members' spread is that of arbitrary zeros."""
        self.model.eval()
        self.members.bias.sub_(by_length(self.member_forward, sequences).mean(dim=0))

    def _rescale(self, mean: float, std: float) -> None:
        with torch.no_grad():
            self.members.weight /= std
            self.members.bias.sub_(mean).div_(std)

    def freeze(self) -> None:
        """No parameter needs gradients any more, the members' neither."""
        super().freeze()
        self.members.requires_grad_(False)


class IndependentEnsemble:
    """Reward models of their own as members; K times the work of one, and K opinions that share nothing.

    Args:
        models: K >= 2. A preference fixes neither zero nor unit of a score: normalise each on the same completions
            (`RewardModel.normalize`) before their spread means anything.
    """

    def __init__(self, models: Sequence[RewardModel]) -> None:
        require_at_least(2, models=len(models))
        self.models = list(models)

    def member_scores(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> npt.NDArray[np.float64]:
        """B prompts, B completions -> (B, K)."""
        return np.stack([model.score(prompts, completions) for model in self.models], axis=1)

    def score(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> npt.NDArray[np.float64]:
        """Mean scores: B prompts, B completions -> (B,)."""
        mean: npt.NDArray[np.float64] = self.member_scores(prompts, completions).mean(axis=1)
        return mean

    def freeze(self) -> None:
        """No parameter needs gradients any more."""
        for model in self.models:
            model.freeze()


def load_reward_model(path: str | Path) -> RewardModel:
    """The reward model in a folder: an ensemble where it has members, else a single one."""
    kind = RewardEnsemble if (Path(path) / MEMBERS).is_file() else RewardModel
    return kind.from_pretrained(path)
