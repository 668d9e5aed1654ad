from .bag_of_words import BagOfWordsRidge as BagOfWordsRidge
from .conservative import ConservativeReward as ConservativeReward, load_reward as load_reward
from .ensemble import (
    IndependentEnsemble as IndependentEnsemble,
    RewardEnsemble as RewardEnsemble,
    load_reward_model as load_reward_model,
)
from .frozen_trunk import FrozenTrunk as FrozenTrunk
from .kind_config import RewardModelKind as RewardModelKind, is_ensemble as is_ensemble
from .kinds import new_reward_model as new_reward_model, new_training as new_training, settle_scores as settle_scores
from .pessimism import checked_pessimism as checked_pessimism, conservative_scores as conservative_scores
from .reward_model import ModelReward as ModelReward, RewardModel as RewardModel
