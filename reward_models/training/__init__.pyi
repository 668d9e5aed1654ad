from .configs import RewardModelConfig as RewardModelConfig, RewardModelKind as RewardModelKind
from .loop import RewardModelTraining as RewardModelTraining, encode_rows as encode_rows
from .losses import MemberLoss as MemberLoss, bootstrap_counts as bootstrap_counts
from .targets import compute_targets as compute_targets, iterate_batches as iterate_batches
from .variants import (
    FrozenTrunk as FrozenTrunk,
    create_reward_model as create_reward_model,
    create_training as create_training,
    settle_scores as settle_scores,
)
