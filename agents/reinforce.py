"""REINFORCE with a baseline (Williams 1992)."""

from typing import Unpack

from torch import Tensor

from textrl_env.agents.batch import Batch, Targets
from textrl_env.agents.maths import others_mean, policy_gradient_loss, returns_to_go
from textrl_env.agents.on_policy import OnPolicyAlgorithm, OnPolicyOptions
from textrl_env.agents.policy import ActorCriticLM
from textrl_env.agents.rollout import Rollout
from textrl_env.errors import require_at_least
from textrl_env.mdp import TextGenVectorEnv


class REINFORCE(OnPolicyAlgorithm):
    """Each token's log-probability times the rewards that followed it, less the mean return of the other completions.

    Args:
        policy, env, **options: see `OnPolicyAlgorithm`; `n_episodes` of at least 2, and one pass (`n_epochs=1`) by
            default, since the gradient is that of the policy that sampled.
    """

    def __init__(self, policy: ActorCriticLM, env: TextGenVectorEnv, **options: Unpack[OnPolicyOptions]) -> None:
        options.setdefault("n_epochs", 1)
        super().__init__(policy, env, **options)
        require_at_least(2, n_episodes=self.n_episodes)

    def advantages(self, rollout: Rollout) -> Targets:
        returns = returns_to_go(rollout.rewards, rollout.completion_mask, gamma=self.gamma)
        baseline = others_mean(returns[None, :, 0])
        return Targets(returns - baseline.T)

    def weights(self, mask: Tensor) -> Tensor:
        """Sums over tokens, means over episodes: the gradient is that of the expected return."""
        return mask / len(mask)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        logprobs = self.policy.evaluate(batch.rollout, entropies=False).logprobs
        policy_loss = policy_gradient_loss(logprobs, batch.targets.advantages, batch.weights)
        return policy_loss + self.kl_loss(logprobs, batch), {"policy_gradient_loss": policy_loss}
