from .policy_gradient import (
    gae as gae,
    group_normalised as group_normalised,
    kl_loss as kl_loss,
    masked_mean as masked_mean,
    others_mean as others_mean,
    policy_gradient_loss as policy_gradient_loss,
    ppo_policy_loss as ppo_policy_loss,
    returns_to_go as returns_to_go,
    to_tokens as to_tokens,
    value_loss as value_loss,
    weighted_sum as weighted_sum,
    whiten as whiten,
)
