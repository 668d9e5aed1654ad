from .feedback.simulated_raters.population import RaterPopulation as RaterPopulation, SimulatedRater as SimulatedRater
from .model.bag_of_words import BagOfWordsRidge as BagOfWordsRidge
from .model.conservative import ConservativeReward as ConservativeReward
from .model.ensemble import (
    IndependentEnsemble as IndependentEnsemble,
    RewardEnsemble as RewardEnsemble,
    load_reward_model as load_reward_model,
)
from .model.frozen_trunk import FrozenTrunk as FrozenTrunk
from .model.reward_model import ModelReward as ModelReward, RewardModel as RewardModel
from .preferences import (
    Preference as Preference,
    preference_rows as preference_rows,
    preferences_of as preferences_of,
    read_preferences as read_preferences,
    write_preferences as write_preferences,
)
from .training.config import RewardModelConfig as RewardModelConfig
from .training.loop import RewardModelTraining as RewardModelTraining, train_reward_model as train_reward_model
from .training.rows import RatedCompletion as RatedCompletion, read_training_rows as read_training_rows
