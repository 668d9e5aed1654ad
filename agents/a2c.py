"""Advantage actor-critic, synchronous (Mnih et al. 2016), on whole completions."""

from dataclasses import dataclass

from torch import Tensor

from textrl_env.agents.maths import gae, policy_gradient_loss, value_loss, weighted_sum
from textrl_env.agents.on_policy import OnPolicyAlgorithm
from textrl_env.agents.rollout import Batch, Rollout, Targets
from textrl_env.errors import require_at_least, require_within


@dataclass(eq=False, repr=False, kw_only=True)
class A2C(OnPolicyAlgorithm):
    """The plain policy gradient with a critic as the baseline.

    With `gae_lambda=1` the gradient of the policy is unbiased whatever the critic says; below, the critic's errors
    enter it and its variance falls.

    The arguments are `policy`, which needs a critic, `env`, and as keywords the options of `OnPolicyOptions` and these:
    `gae_lambda`, `ent_coef`, `vf_coef`.
    """

    needs_critic = True

    n_epochs: int = 1
    """One pass, since the gradient is that of the policy that sampled."""
    gae_lambda: float = 1.0
    """λ of generalized advantage estimation, in [0, 1]."""
    ent_coef: float = 0.0
    """Weight of the entropy bonus, 0 or more."""
    vf_coef: float = 0.5
    """Weight of the critic's loss, 0 or more."""

    def __post_init__(self) -> None:
        require_within("[0, 1]", gae_lambda=self.gae_lambda)
        require_at_least(0, ent_coef=self.ent_coef, vf_coef=self.vf_coef)
        super().__post_init__()

    def advantages(self, rollout: Rollout) -> Targets:
        """Estimates advantages with the critic, by GAE, and returns for it to learn."""
        values, bootstrap = self.values(rollout)
        mask = rollout.completion_mask
        advantages, returns = gae(rollout.rewards, values, bootstrap, mask, gamma=self.gamma, lam=self.gae_lambda)
        return Targets(advantages, returns, values)

    def weights(self, mask: Tensor) -> Tensor:
        """Sums over tokens, averages over episodes: the gradient is that of the expected return."""
        return mask / len(mask)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the policy gradient's loss, the critic's, the KL term and the entropy bonus."""
        targets, weights = batch.targets, batch.weights
        assert targets.returns is not None and targets.values is not None
        new = self.policy.evaluate(batch.rollout, entropies=self.ent_coef > 0)
        assert new.values is not None
        policy_loss = policy_gradient_loss(new.logprobs, targets.advantages, weights)
        critic_loss = value_loss(new.values, targets.values, targets.returns, weights)
        # With a weight of 0 the critic's loss is no part of the loss, were it infinite.
        loss = policy_loss + self.vf_coef * critic_loss if self.vf_coef else policy_loss
        loss = loss + self.kl_loss(new.logprobs, batch)
        statistics = {"policy_gradient_loss": policy_loss, "value_loss": critic_loss}
        if new.entropies is not None:
            entropy = weighted_sum(new.entropies, weights)
            loss, statistics["entropy_loss"] = loss - self.ent_coef * entropy, -entropy
        return loss, statistics
