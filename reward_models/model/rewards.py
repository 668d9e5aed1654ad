"""Reward models and ensembles as reward functions of the environment. No torch until one is loaded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from textrl_env.data.text import Prompt, completion_text
from textrl_env.errors import InputError, require_at_least
from textrl_env.reward_models.model.sampled_ids import SampledIds

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


@runtime_checkable
class SampledScorer(Protocol):
    """Scores completions of a policy: their ids where the tokenizers are alike, else their texts, cut to its context.

    `RewardModel` and `IndependentEnsemble` are such; of another `TextScorer` the texts are scored.
    """

    @property
    def n_truncated(self) -> int:
        """Completions that were cut to fit the context."""

    def check_lengths(self, tokenizer: Any, max_tokens: int) -> None:
        """Raises InputError where ids of a policy's tokenizer, `max_tokens` of them, cannot be scored as they are."""

    def score_sampled(
        self, prompts: Sequence[Prompt], completions: Sequence[str], sample: SampledIds | None = None
    ) -> Floats:
        """Scores B prompts and B completions: (B,)."""


class ModelReward:
    """A reward model as the environment's reward function; frozen, it never changes with the policy.

    A conversation is rendered with the reward model's own chat template. Where the environment's tokenizer does what
    the reward model's does, the ids that the policy sampled are scored; text that is encoded anew may have other ones.
    What exceeds the reward model's context is cut and counted, see `RewardModel.encode_sampled`.

    Args:
        reward_model: its parameters are set to need no gradients.
        whole_text: scores prompt and completion as one text, as a reward model does that was trained on preferences
            between whole texts, with an empty prompt; prompts must be texts.

    Raises:
        InputError: what cannot score or be frozen.
    """

    def __init__(self, reward_model: TextScorer, *, whole_text: bool = False) -> None:
        if isinstance(reward_model, type) or not (hasattr(reward_model, "score") and hasattr(reward_model, "freeze")):
            raise InputError(
                f"expected a reward model or an ensemble, got {type(reward_model).__name__} {reward_model!r:.80}; of a "
                "folder load_reward_model makes one, of a model of transformers RewardModel(model, tokenizer)"
            )
        reward_model.freeze()
        self.reward_model, self.whole_text = reward_model, whole_text

    @property
    def n_truncated(self) -> int:
        """Completions that were cut to fit the reward model's context."""
        return self.reward_model.n_truncated if isinstance(self.reward_model, SampledScorer) else 0

    def check_lengths(self, tokenizer: Any, max_tokens: int) -> None:
        """Raises InputError where an environment's longest texts do not fit the reward model's context.

        Args:
            tokenizer: the environment's.
            max_tokens: the most tokens of a prompt and its completion.
        """
        if isinstance(self.reward_model, SampledScorer) and not self.whole_text:
            self.reward_model.check_lengths(tokenizer, max_tokens)

    def __call__(
        self,
        prompts: list[Any],
        completions: list[Any],
        *,
        prompt_ids: list[list[int]] | None = None,
        completion_ids: list[list[int]] | None = None,
        finish_reason: list[str] | None = None,
        tokenizer: Any = None,
        **columns: Any,
    ) -> list[float]:
        """Scores B prompts (texts or conversations) and completions; other columns are ignored.

        Prompts and completions are scored from their ids where tokenizer and both lists are given.
        """
        texts, sample = [completion_text(completion) for completion in completions], None
        if self.whole_text:
            texts = [prompt + text for prompt, text in zip(prompts, texts, strict=True)]
            prompts = [""] * len(texts)
        elif tokenizer is not None and prompt_ids is not None and completion_ids is not None:
            sample = SampledIds.of_completions(tokenizer, prompt_ids, completion_ids, finish_reason)
        scores: list[float] = self.scores(prompts, texts, sample).tolist()
        return scores

    def scores(self, prompts: list[Any], texts: list[str], sample: SampledIds | None = None) -> Floats:
        """Scores B prompts and completions, whose ids may be known: (B,)."""
        if isinstance(self.reward_model, SampledScorer):
            return self.reward_model.score_sampled(prompts, texts, sample)
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

    def scores(self, prompts: list[Any], texts: list[str], sample: SampledIds | None = None) -> Floats:
        """Scores B prompts and completions, whose ids may be known: (B,)."""
        by_member = (
            self.ensemble.member_scores_sampled(prompts, texts, sample)
            if hasattr(self.ensemble, "member_scores_sampled")
            else self.ensemble.member_scores(prompts, texts)
        )
        return conservative_scores(by_member, self.pessimism)


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
