from .advantages import (
    gae as gae,
    group_normalised as group_normalised,
    others_mean as others_mean,
    returns_to_go as returns_to_go,
    to_tokens as to_tokens,
)
from .losses import (
    kl_loss as kl_loss,
    masked_mean as masked_mean,
    policy_gradient_loss as policy_gradient_loss,
    ppo_policy_loss as ppo_policy_loss,
    value_loss as value_loss,
    weighted_sum as weighted_sum,
    whiten as whiten,
)
