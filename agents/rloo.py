"""REINFORCE leave-one-out (Kool et al. 2019; Ahmadian et al. 2024)."""

from typing import Unpack

from torch import Tensor

from textrl_env.agents.batch import Batch, Targets
from textrl_env.agents.maths import others_mean, policy_gradient_loss, returns_to_go, to_tokens
from textrl_env.agents.on_policy import OnPolicyAlgorithm, OnPolicyOptions
from textrl_env.agents.policy import ActorCriticLM
from textrl_env.agents.rollout import Rollout
from textrl_env.errors import require_at_least
from textrl_env.mdp import TextGenVectorEnv


class RLOO(OnPolicyAlgorithm):
    """A completion is one action; its return is compared with those of the other completions of the same prompt.

    Args:
        policy, env, **options: see `OnPolicyAlgorithm`; `group_size` of at least 2 (4 by default), and one pass
            (`n_epochs=1`) by default, since the gradient is that of the policy that sampled.
    """

    def __init__(self, policy: ActorCriticLM, env: TextGenVectorEnv, **options: Unpack[OnPolicyOptions]) -> None:
        options.setdefault("n_epochs", 1)
        options.setdefault("group_size", 4)
        super().__init__(policy, env, **options)
        require_at_least(2, group_size=self.group_size)

    def advantages(self, rollout: Rollout) -> Targets:
        mask = rollout.completion_mask
        groups = returns_to_go(rollout.rewards, mask, gamma=self.gamma)[:, 0].view(-1, self.group_size)
        return Targets(to_tokens(groups - others_mean(groups), mask))

    def weights(self, mask: Tensor) -> Tensor:
        """Sums over tokens, means over episodes: a completion's log-probability is that of one action."""
        return mask / len(mask)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        logprobs = self.policy.evaluate(batch.rollout, entropies=False).logprobs
        policy_loss = policy_gradient_loss(logprobs, batch.targets.advantages, batch.weights)
        return policy_loss + self.kl_loss(logprobs, batch), {"policy_gradient_loss": policy_loss}
