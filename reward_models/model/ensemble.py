"""Ensembles of reward models: members that disagree where the preferences they saw do not decide."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from textrl_env.data.text import Prompt
from textrl_env.errors import InputError, require_count
from textrl_env.lm import Precision
from textrl_env.lm.loading import read_tensors, resolve_model
from textrl_env.reward_models.model.reward_model import RewardModel, require_spread
from textrl_env.reward_models.model.rewards import (
    MEMBERS,
    ConservativeReward,
    Floats,
    ModelReward,
    Pessimism,
    is_ensemble,
)
from textrl_env.reward_models.model.sampled_ids import SampledIds, pair_texts
from textrl_env.training import seeded


class RewardEnsemble(RewardModel):
    """K linear heads on one trunk; its score is their mean.

    Scoring costs what one reward model costs. The members differ in the preferences they were trained on and in where
    they started (Osband et al. 2016); they share the trunk's features, and its blind spots with them: what the trunk
    does not see, no member doubts. Members with a trunk of their own are `IndependentEnsemble`.

    The mean of linear heads is a linear head, so a saved ensemble is an ordinary reward model, which
    `AutoModelForSequenceClassification` and `RewardModel.from_pretrained` load, with its members in one further file.

    Args:
        model, tokenizer, precision: as for `RewardModel`; the model's own head is replaced.
        members: K >= 2 heads as one layer from H to K; its biases are the members' offsets.
    """

    def __init__(self, model: Any, tokenizer: Any, members: nn.Linear, *, precision: Precision = "float32") -> None:
        super().__init__(model, tokenizer, precision=precision)
        require_count(2, members=members.out_features)
        # A preference says nothing about a score's zero: a gradient of the biases would be rounding errors.
        members.bias.requires_grad_(False)
        model.score = members.to(self.head.weight)

    @classmethod
    def around(cls, reward_model: RewardModel, *, n_members: int, seed: int = 0) -> "RewardEnsemble":
        """Puts new heads, drawn from `seed`, on a reward model's trunk; in place.

        They are drawn so large that their scores differ by about 1 at the start (the trunk's last norm gives features
        of about 1): where no preference moves it, a member keeps an opinion of its own (a randomised prior, Osband et
        al. 2018). From a classifier's usual start, near 0, the heads would all learn one direction and hardly disagree.
        """
        width = reward_model.head.in_features
        members = nn.Linear(width, n_members)
        with seeded(seed):
            nn.init.normal_(members.weight, std=width**-0.5)
        nn.init.zeros_(members.bias)
        return cls(reward_model.model, reward_model.tokenizer, members, precision=reward_model.precision)

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, dtype: torch.dtype = torch.float32, layers: int | None = None, seed: int | None = None
    ) -> "RewardEnsemble":
        """Loads a folder that `save_pretrained` wrote; InputError where it holds no ensemble, or a damaged one.

        The seed, of a new head, is of no use here.
        """
        path = resolve_model(path)
        file = path / MEMBERS
        if not is_ensemble(path):
            raise InputError(f"{path}: no ensemble here (no {MEMBERS}); a single reward model is read by RewardModel")
        mean = RewardModel.from_trained(path, dtype=dtype, layers=layers)
        width = mean.head.in_features
        tensors = _read_members(file, width)
        members = nn.Linear(width, len(tensors["bias"]))
        members.load_state_dict(tensors)
        return cls(mean.model, mean.tokenizer, members)

    def write_files(self, folder: Path) -> None:
        """Writes the mean as an ordinary reward model, and the members beside it."""
        with self._as_mean():
            super().write_files(folder)
        state = {name: value.detach().cpu().contiguous() for name, value in self.head.state_dict().items()}
        save_file(state, folder / MEMBERS)

    def load_parameters(self, path: str | Path) -> None:
        """Takes the parameters that `save_pretrained` wrote into this model, bit for bit."""
        with self._as_mean():
            super().load_parameters(path)
        self.head.load_state_dict(_read_members(Path(path) / MEMBERS, self.head.in_features, self.head.out_features))

    @contextmanager
    def _as_mean(self) -> Iterator[None]:
        """Makes the model, within, the ordinary classifier whose head is the members' mean."""
        members = self.head
        mean = nn.Linear(members.in_features, 1, bias=False).to(members.weight)
        with torch.no_grad():
            mean.weight.copy_(members.weight.mean(dim=0, keepdim=True))
        self.model.score, self.model.config.score_offset = mean, float(members.bias.mean())
        try:
            yield
        finally:
            self.model.score = members

    def read(self, features: Tensor) -> Tensor:
        """Applies the members' heads to (B, H) features; returns scores (B, K), and so does `forward`."""
        scores: Tensor = self.head(features)
        return scores.float()

    def member_scores(self, prompts: Sequence[Prompt], completions: Sequence[str], *, batch_size: int = 128) -> Floats:
        """The members' scores without gradients: B prompts, B completions -> (B, K)."""
        return self._by_member([self.encode(*pair) for pair in pair_texts(prompts, completions)], batch_size)

    def member_scores_sampled(
        self, prompts: Sequence[Prompt], completions: Sequence[str], sample: SampledIds | None = None
    ) -> Floats:
        """The members' scores of a policy's completions, which are read as `encode_sampled` says: B, B -> (B, K)."""
        return self._by_member(self.encode_sampled(prompts, completions, sample))

    def score_sequences(self, sequences: Sequence[Sequence[int]], *, batch_size: int = 128) -> Floats:
        """Mean scores of token lists without gradients: B -> (B,)."""
        mean: Floats = self._by_member(sequences, batch_size).mean(axis=1)
        return mean

    def _by_member(self, sequences: Sequence[Sequence[int]], batch_size: int = 128) -> Floats:
        return self._outputs(sequences, batch_size).reshape(len(sequences), self.head.out_features)

    def normalize(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> None:
        """Gives every member a mean of 0 on these completions, and their mean a standard deviation of 1."""
        self.normalize_by(self.member_scores(prompts, completions))

    def normalize_by(self, scores: Floats) -> None:
        """Normalises by the members' scores (N, K) of some completions; see `normalize`."""
        std = require_spread(scores.mean(axis=1) - scores.mean())
        self.centre_by(scores)
        self.model.config.score_unit = self.unit * std
        with torch.no_grad():
            self.head.weight.div_(std)
            self.head.bias.div_(std)

    def centre_by(self, scores: Floats) -> None:
        """Gives every member a mean of 0 where it gave these scores (N, K).

        A preference fixes no zero, so the members' spread would be that of arbitrary ones.
        """
        with torch.no_grad():
            self.head.bias.sub_(torch.from_numpy(scores.mean(axis=0)).to(self.head.bias))


class IndependentEnsemble:
    """Reward models of their own as members; K times the work of one, and K opinions that share nothing.

    Args:
        models: K >= 2. A preference fixes neither zero nor unit of a score: normalise each on the same completions
            (`RewardModel.normalize`) before their spread means anything.
    """

    def __init__(self, models: Sequence[RewardModel]) -> None:
        require_count(2, models=len(models))
        self.models = list(models)

    def member_scores(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> Floats:
        """B prompts, B completions -> (B, K)."""
        return np.stack([model.score(prompts, completions) for model in self.models], axis=1)

    def score(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> Floats:
        """Mean scores: B prompts, B completions -> (B,)."""
        mean: Floats = self.member_scores(prompts, completions).mean(axis=1)
        return mean

    def score_sampled(
        self, prompts: Sequence[Prompt], completions: Sequence[str], sample: SampledIds | None = None
    ) -> Floats:
        """Mean scores of a policy's completions, which each member reads in its own way: B, B -> (B,)."""
        mean: Floats = self.member_scores_sampled(prompts, completions, sample).mean(axis=1)
        return mean

    def member_scores_sampled(
        self, prompts: Sequence[Prompt], completions: Sequence[str], sample: SampledIds | None = None
    ) -> Floats:
        """The members' scores of a policy's completions: B, B -> (B, K)."""
        return np.stack([model.score_sampled(prompts, completions, sample) for model in self.models], axis=1)

    def check_lengths(self, tokenizer: Any, max_tokens: int) -> None:
        """Raises InputError where a member cannot score ids of a policy's tokenizer as they are."""
        for model in self.models:
            model.check_lengths(tokenizer, max_tokens)

    @property
    def n_truncated(self) -> int:
        """Completions that were cut to fit a member's context."""
        return sum(model.n_truncated for model in self.models)

    def freeze(self) -> None:
        """Sets all parameters to need no gradients."""
        for model in self.models:
            model.freeze()


def load_reward_model(path: str | Path) -> RewardModel:
    """Loads the reward model in a folder, or of a hub id: an ensemble where it has members, else a single one.

    Raises:
        InputError: no reward model there, one that is damaged, or a language model, which nobody trained to score.
    """
    path = resolve_model(path)
    return RewardEnsemble.from_pretrained(path) if is_ensemble(path) else RewardModel.from_trained(path)


def load_reward(path: Path, *, pessimism: Pessimism = 0.0) -> ModelReward:
    """Loads the reward model in a folder as a reward function, conservative where `pessimism` is not 0.

    Raises:
        InputError: pessimism without an ensemble.
    """
    if pessimism == 0:
        return ModelReward(load_reward_model(path))
    if not is_ensemble(path):
        raise InputError(
            f"pessimism {pessimism}: {path} is a single reward model, and cannot disagree with itself; make an "
            "ensemble with textrl reward-model --members 5"
        )
    return ConservativeReward(RewardEnsemble.from_pretrained(path), pessimism=pessimism)


def _read_members(file: Path, width: int, n_members: int | None = None) -> dict[str, Tensor]:
    """Reads heads from H = `width` to K members; InputError where the file holds anything else."""
    tensors = read_tensors(file)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    n_members = len(tensors.get("bias", ())) if n_members is None else n_members
    if shapes != {"weight": (n_members, width), "bias": (n_members,)}:
        raise InputError(f"{file}: expected weight (K, {width}) and bias (K,), found {shapes}; train it again")
    return tensors
