from .ensemble import (
    IndependentEnsemble as IndependentEnsemble,
    RewardEnsemble as RewardEnsemble,
    load_reward as load_reward,
    load_reward_model as load_reward_model,
)
from .reward_model import RewardModel as RewardModel, forward_by_length as forward_by_length
from .rewards import (
    ConservativeReward as ConservativeReward,
    ModelReward as ModelReward,
    TextScorer as TextScorer,
    conservative_scores as conservative_scores,
    is_ensemble as is_ensemble,
    require_pessimism as require_pessimism,
)
