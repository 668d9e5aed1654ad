"""Conservative scores: lower where an ensemble's members disagree, which is where a policy finds errors to exploit."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from textrl_env.conversations import Prompt
from textrl_env.errors import InputError, require_at_least
from textrl_env.reward_models.reward_model import Floats, Judge, ModelReward

Pessimism = float | Literal["minimum"]
"""k of mean - k · std, or the lowest member's score."""


class Ensemble(Judge, Protocol):
    """`RewardEnsemble`, `IndependentEnsemble`, or anything else with several opinions."""

    def member_scores(self, prompts: Sequence[Prompt], completions: Sequence[str], /) -> Floats:
        """B prompts, B completions -> (B, K)."""


def conservative(member_scores: Floats, pessimism: Pessimism) -> Floats:
    """mean - k · std over the members, or their minimum: (B, K) -> (B,).

    Coste et al. 2023, section 3: the minimum is their worst-case optimisation; their uncertainty-weighted one subtracts
    the members' variance, here it is the standard deviation (over K, not K - 1), which has the score's unit.
    """
    if pessimism == "minimum":
        lowest: Floats = member_scores.min(axis=1)
        return lowest
    scores: Floats = member_scores.mean(axis=1) - pessimism * member_scores.std(axis=1)
    return scores


def checked_pessimism(pessimism: Pessimism) -> Pessimism:
    """The value itself; InputError unless it is 0 or more, or "minimum"."""
    if isinstance(pessimism, str):
        if pessimism != "minimum":
            raise InputError(f"pessimism must be a number or 'minimum', got {pessimism!r}")
    else:
        require_at_least(0, pessimism=pessimism)
    return pessimism


class ConservativeReward(ModelReward):
    """An ensemble's conservative score as the environment's reward function.

    Args:
        ensemble, whole_text: as for `ModelReward`.
        pessimism: k >= 0 of mean - k · std, or "minimum".
    """

    def __init__(self, ensemble: Ensemble, *, pessimism: Pessimism = 1.0, whole_text: bool = False) -> None:
        super().__init__(ensemble, whole_text=whole_text)
        self.ensemble, self.pessimism = ensemble, checked_pessimism(pessimism)

    def scores(self, prompts: list[Any], texts: list[str]) -> Floats:
        """Of B prompts and completions, (B,)."""
        return conservative(self.ensemble.member_scores(prompts, texts), self.pessimism)
