"""An ensemble's conservative score as the environment's reward."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from textrl_env.data.text import Prompt
from textrl_env.errors import InputError
from textrl_env.reward_models.model.ensemble import RewardEnsemble, load_reward_model
from textrl_env.reward_models.model.kind_config import is_ensemble
from textrl_env.reward_models.model.pessimism import Floats, Pessimism, checked_pessimism, conservative_scores
from textrl_env.reward_models.model.reward_model import Judge, ModelReward


class Ensemble(Judge, Protocol):
    """`RewardEnsemble`, `IndependentEnsemble`, or anything else with several opinions."""

    def member_scores(self, prompts: Sequence[Prompt], completions: Sequence[str], /) -> Floats:
        """B prompts, B completions -> (B, K)."""


class ConservativeReward(ModelReward):
    """An ensemble's conservative score as the environment's reward function, see `conservative_scores`.

    Args:
        ensemble, whole_text: as for `ModelReward`.
        pessimism: k >= 0 of mean - k · std, or "minimum".
    """

    def __init__(self, ensemble: Ensemble, *, pessimism: Pessimism = 1.0, whole_text: bool = False) -> None:
        super().__init__(ensemble, whole_text=whole_text)
        self.ensemble, self.pessimism = ensemble, checked_pessimism(pessimism)

    def scores(self, prompts: list[Any], texts: list[str]) -> Floats:
        """Of B prompts and completions, (B,)."""
        return conservative_scores(self.ensemble.member_scores(prompts, texts), self.pessimism)


def load_reward(path: Path, *, pessimism: Pessimism = 0.0) -> ModelReward:
    """The reward model in a folder as a reward function, conservative where `pessimism` is not 0.

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
