"""Preferences, the people who give them, and the reward models that learn them.

Names are loaded when they are first used: the options of the command line must not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textrl_env.reward_models.bag_of_words import BagOfWordsRidge
    from textrl_env.reward_models.conservative import ConservativeReward
    from textrl_env.reward_models.ensemble import IndependentEnsemble, RewardEnsemble, load_reward_model
    from textrl_env.reward_models.frozen_trunk import FrozenTrunk
    from textrl_env.reward_models.preferences import Preference, preferences_of, read_preferences, write_preferences
    from textrl_env.reward_models.raters import RaterPopulation, SimulatedRater
    from textrl_env.reward_models.reward_model import ModelReward, RewardModel
    from textrl_env.reward_models.training import RewardModelTraining, train_reward_model
    from textrl_env.reward_models.training_config import RewardModelConfig
    from textrl_env.reward_models.training_rows import RatedCompletion, read_training_rows

_MODULES = {
    "BagOfWordsRidge": "bag_of_words",
    "ConservativeReward": "conservative",
    "FrozenTrunk": "frozen_trunk",
    "IndependentEnsemble": "ensemble",
    "ModelReward": "reward_model",
    "Preference": "preferences",
    "RatedCompletion": "training_rows",
    "RaterPopulation": "raters",
    "RewardEnsemble": "ensemble",
    "RewardModel": "reward_model",
    "RewardModelConfig": "training_config",
    "RewardModelTraining": "training",
    "SimulatedRater": "raters",
    "load_reward_model": "ensemble",
    "preferences_of": "preferences",
    "read_preferences": "preferences",
    "read_training_rows": "training_rows",
    "train_reward_model": "training",
    "write_preferences": "preferences",
}

__all__ = [
    "BagOfWordsRidge",
    "ConservativeReward",
    "FrozenTrunk",
    "IndependentEnsemble",
    "ModelReward",
    "Preference",
    "RatedCompletion",
    "RaterPopulation",
    "RewardEnsemble",
    "RewardModel",
    "RewardModelConfig",
    "RewardModelTraining",
    "SimulatedRater",
    "load_reward_model",
    "preferences_of",
    "read_preferences",
    "read_training_rows",
    "train_reward_model",
    "write_preferences",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
