from .batches import batches as batches
from .config import RewardModelConfig as RewardModelConfig
from .loop import (
    RewardModelTraining as RewardModelTraining,
    encode_rows as encode_rows,
    train_reward_model as train_reward_model,
)
from .member_loss import MemberLoss as MemberLoss, bootstrap_counts as bootstrap_counts
from .rows import (
    RatedCompletion as RatedCompletion,
    Row as Row,
    completions_of as completions_of,
    read_training_rows as read_training_rows,
)
from .targets import targets_of as targets_of
