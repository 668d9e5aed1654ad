"""Proximal policy optimisation with a critic (Schulman et al. 2017), on whole completions."""

from dataclasses import dataclass

from torch import Tensor

from textrl_env.agents.maths import gae, ppo_policy_loss, value_loss, weighted_sum, whiten
from textrl_env.agents.on_policy import OnPolicyAlgorithm
from textrl_env.agents.rollout import Batch, Rollout, Targets
from textrl_env.errors import require_above, require_at_least, require_within


@dataclass(eq=False, repr=False, kw_only=True)
class PPO(OnPolicyAlgorithm):
    """PPO over tokens: the policy and the critic are updated together on clipped losses.

    The arguments are `policy`, which needs a critic, `env`, and as keywords the options of `OnPolicyOptions` and these:
    `gae_lambda`, `clip_range`, `clip_range_vf`, `normalize_advantage`, `ent_coef`, `vf_coef`.
    """

    needs_critic = True

    gae_lambda: float = 0.95
    """λ of generalized advantage estimation, in [0, 1]."""
    clip_range: float = 0.2
    """The policy ratio may leave 1 by this much before its gradient stops, in (0, 1)."""
    clip_range_vf: float | None = None
    """The value may leave its old value by this much, above 0; None does not clip it."""
    normalize_advantage: bool = True
    """Whiten the advantages over the tokens of an update."""
    ent_coef: float = 0.0
    """Weight of the entropy bonus, 0 or more."""
    vf_coef: float = 0.5
    """Weight of the critic's loss, 0 or more."""

    def __post_init__(self) -> None:
        require_within("(0, 1)", clip_range=self.clip_range)
        if self.clip_range_vf is not None:
            require_above(0, clip_range_vf=self.clip_range_vf)
        require_within("[0, 1]", gae_lambda=self.gae_lambda)
        require_at_least(0, ent_coef=self.ent_coef, vf_coef=self.vf_coef)
        super().__post_init__()

    def advantages(self, rollout: Rollout) -> Targets:
        """Estimates advantages with the critic, by GAE, and returns for it to learn."""
        mask = rollout.completion_mask
        values, bootstrap = self.values(rollout)
        advantages, returns = gae(rollout.rewards, values, bootstrap, mask, gamma=self.gamma, lam=self.gae_lambda)
        return Targets(whiten(advantages, mask) if self.normalize_advantage else advantages, returns, values)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the clipped policy loss, the critic's, the KL term and the entropy bonus."""
        targets, weights = batch.targets, batch.weights
        assert targets.returns is not None and targets.values is not None
        new = self.policy.evaluate(batch.rollout, entropies=self.ent_coef > 0)
        assert new.values is not None
        policy_loss, statistics = ppo_policy_loss(
            new.logprobs, batch.rollout.logprobs, targets.advantages, weights, clip_range=self.clip_range
        )
        critic_loss = value_loss(new.values, targets.values, targets.returns, weights, clip_range=self.clip_range_vf)
        # With a weight of 0 the critic's loss is no part of the loss, were it infinite.
        loss = policy_loss + self.vf_coef * critic_loss if self.vf_coef else policy_loss
        loss = loss + self.kl_loss(new.logprobs, batch)
        statistics |= {"policy_gradient_loss": policy_loss, "value_loss": critic_loss}
        if new.entropies is not None:
            entropy = weighted_sum(new.entropies, weights)
            loss, statistics["entropy_loss"] = loss - self.ent_coef * entropy, -entropy
        return loss, statistics
