from .feedback.simulated_raters.population import RaterPopulation as RaterPopulation, SimulatedRater as SimulatedRater
from .model.ensemble import (
    IndependentEnsemble as IndependentEnsemble,
    RewardEnsemble as RewardEnsemble,
    load_reward_model as load_reward_model,
)
from .model.reward_model import RewardModel as RewardModel
from .model.rewards import ConservativeReward as ConservativeReward, ModelReward as ModelReward
from .preferences import (
    Preference as Preference,
    preference_rows as preference_rows,
    preferences_of as preferences_of,
    read_preferences as read_preferences,
    write_preferences as write_preferences,
)
from .training.configs import RewardModelConfig as RewardModelConfig
from .training.loop import RewardModelTraining as RewardModelTraining, train_reward_model as train_reward_model
from .training.variants import FrozenTrunk as FrozenTrunk
from .training_rows import (
    RatedCompletion as RatedCompletion,
    TrainingRow as TrainingRow,
    completions_of as completions_of,
    read_training_rows as read_training_rows,
)
