"""Advantage actor-critic, synchronous (Mnih et al. 2016), on whole completions."""

from typing import Unpack

from torch import Tensor

from textrl_env.agents.batch import Batch, Targets
from textrl_env.agents.maths import gae, policy_gradient_loss, value_loss, weighted_sum
from textrl_env.agents.on_policy import OnPolicyAlgorithm, OnPolicyOptions
from textrl_env.agents.policy import ActorCriticLM
from textrl_env.agents.rollout import Rollout
from textrl_env.errors import InputError, require_at_least
from textrl_env.mdp import TextGenVectorEnv


class A2C(OnPolicyAlgorithm):
    """The plain policy gradient with a critic as the baseline.

    With `gae_lambda=1` the gradient of the policy is unbiased whatever the critic says; below, the critic's errors
    enter it and its variance falls.

    Args:
        policy, env, **options: see `OnPolicyAlgorithm`; the policy needs a critic. One pass (`n_epochs=1`) by default,
            since the gradient is that of the policy that sampled.
        gae_lambda: λ of generalized advantage estimation, in [0, 1].
        ent_coef: weight of the entropy bonus, 0 or more.
        vf_coef: weight of the critic's loss, 0 or more.
    """

    needs_critic = True

    def __init__(
        self,
        policy: ActorCriticLM,
        env: TextGenVectorEnv,
        *,
        gae_lambda: float = 1.0,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        **options: Unpack[OnPolicyOptions],
    ) -> None:
        if not 0 <= gae_lambda <= 1:
            raise InputError(f"gae_lambda must be in [0, 1], got {gae_lambda}")
        require_at_least(0, ent_coef=ent_coef, vf_coef=vf_coef)
        options.setdefault("n_epochs", 1)
        super().__init__(policy, env, **options)
        self.gae_lambda, self.ent_coef, self.vf_coef = gae_lambda, ent_coef, vf_coef

    def advantages(self, rollout: Rollout) -> Targets:
        values, bootstrap = self.values(rollout)
        mask = rollout.completion_mask
        advantages, returns = gae(rollout.rewards, values, bootstrap, mask, gamma=self.gamma, lam=self.gae_lambda)
        return Targets(advantages, returns, values)

    def weights(self, mask: Tensor) -> Tensor:
        """Sums over tokens, means over episodes: the gradient is that of the expected return."""
        return mask / len(mask)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        targets, weights = batch.targets, batch.weights
        assert targets.returns is not None and targets.values is not None
        new = self.policy.evaluate(batch.rollout, entropies=self.ent_coef > 0)
        assert new.values is not None
        policy_loss = policy_gradient_loss(new.logprobs, targets.advantages, weights)
        critic_loss = value_loss(new.values, targets.values, targets.returns, weights)
        loss = policy_loss + self.vf_coef * critic_loss + self.kl_loss(new.logprobs, batch)
        statistics = {"policy_gradient_loss": policy_loss, "value_loss": critic_loss}
        if new.entropies is not None:
            entropy = weighted_sum(new.entropies, weights)
            loss, statistics["entropy_loss"] = loss - self.ent_coef * entropy, -entropy
        return loss, statistics
