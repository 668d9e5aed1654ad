"""Reward models and ensembles as reward functions of the environment. No torch until one is loaded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from textrl_env.data.text import Prompt, completion_text
from textrl_env.errors import InputError, require_at_least

Floats = npt.NDArray[np.float64]
Pessimism = float | Literal["minimum"]
"""k of mean - k · std, or the lowest member's score."""
MEMBERS = "members.safetensors"
"""The file of a folder with an ensemble that holds its heads: `weight` (K, H) and `bias` (K,)."""


class TextScorer(Protocol):
    """Scores texts, and can be kept from changing: a `RewardModel`, an ensemble."""

    def score(self, prompts: Sequence[Prompt], completions: Sequence[str], /) -> Floats:
        """Scores B prompts and B completions: (B,)."""

    def freeze(self) -> None:
        """Sets all parameters to need no gradients."""


class EnsembleScorer(TextScorer, Protocol):
    """`RewardEnsemble`, `IndependentEnsemble`, or anything else with several opinions."""

    def member_scores(self, prompts: Sequence[Prompt], completions: Sequence[str], /) -> Floats:
        """Scores B prompts and B completions by each of K members: (B, K)."""


class ModelReward:
    """A reward model as the environment's reward function; frozen, it never changes with the policy.

    A conversation is rendered with the reward model's own chat template.

    Args:
        reward_model: its parameters are set to need no gradients.
        whole_text: scores prompt and completion as one text, as a reward model does that was trained on preferences
            between whole texts, with an empty prompt; prompts must be texts.
    """

    def __init__(self, reward_model: TextScorer, *, whole_text: bool = False) -> None:
        reward_model.freeze()
        self.reward_model, self.whole_text = reward_model, whole_text

    def __call__(self, prompts: list[Any], completions: list[Any], **columns: Any) -> list[float]:
        """Scores B prompts (texts or conversations) and completions; other columns are ignored."""
        texts = [completion_text(completion) for completion in completions]
        if self.whole_text:
            texts = [prompt + text for prompt, text in zip(prompts, texts, strict=True)]
            prompts = [""] * len(texts)
        scores: list[float] = self.scores(prompts, texts).tolist()
        return scores

    def scores(self, prompts: list[Any], texts: list[str]) -> Floats:
        """Scores B prompts and completions: (B,)."""
        return self.reward_model.score(prompts, texts)


class ConservativeReward(ModelReward):
    """An ensemble's conservative score as the environment's reward function, see `conservative_scores`.

    Args:
        ensemble, whole_text: as for `ModelReward`.
        pessimism: k >= 0 of mean - k · std, or "minimum".
    """

    def __init__(self, ensemble: EnsembleScorer, *, pessimism: Pessimism = 1.0, whole_text: bool = False) -> None:
        super().__init__(ensemble, whole_text=whole_text)
        require_pessimism(pessimism)
        self.ensemble, self.pessimism = ensemble, pessimism

    def scores(self, prompts: list[Any], texts: list[str]) -> Floats:
        """Scores B prompts and completions: (B,)."""
        return conservative_scores(self.ensemble.member_scores(prompts, texts), self.pessimism)


def conservative_scores(member_scores: Floats, pessimism: Pessimism) -> Floats:
    """Mean - k · std over the members, or their minimum: (B, K) -> (B,); lower where the members disagree.

    Coste et al. 2023, section 3: the minimum is their worst-case optimisation; their uncertainty-weighted one subtracts
    the members' variance, here it is the standard deviation (over K, not K - 1), which has the score's unit.
    """
    if pessimism == "minimum":
        lowest: Floats = member_scores.min(axis=1)
        return lowest
    scores: Floats = member_scores.mean(axis=1) - pessimism * member_scores.std(axis=1)
    return scores


def require_pessimism(pessimism: Pessimism) -> None:
    """Raises InputError unless it is 0 or more, or "minimum"."""
    if isinstance(pessimism, str):
        if pessimism != "minimum":
            raise InputError(f"pessimism must be a number or 'minimum', got {pessimism!r}")
    else:
        require_at_least(0, pessimism=pessimism)


def is_ensemble(folder: str | Path) -> bool:
    """True where the reward model in a folder has members."""
    return (Path(folder) / MEMBERS).is_file()
