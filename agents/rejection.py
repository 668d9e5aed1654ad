"""Rejection-sampling fine-tuning (RAFT, Dong et al. 2023): supervised learning of the best of each group."""

from typing import Unpack

from torch import Tensor
from torch.nn.functional import one_hot

from textrl_env.agents.batch import Batch, Targets
from textrl_env.agents.maths import policy_gradient_loss, returns_to_go, to_tokens
from textrl_env.agents.on_policy import OnPolicyAlgorithm, OnPolicyOptions
from textrl_env.agents.policy import ActorCriticLM
from textrl_env.agents.rollout import Rollout
from textrl_env.errors import require_at_least
from textrl_env.mdp import TextGenVectorEnv


class RejectionSampling(OnPolicyAlgorithm):
    """Of each prompt's completions the one with the highest return becomes a demonstration, the others are rejected.

    Its loss is the negative log-likelihood of best-of-n samples, n = `group_size`: the policy moves towards what
    best-of-n would write.

    Args:
        policy, env, **options: see `OnPolicyAlgorithm`; `group_size` of at least 2 (8 by default).
    """

    def __init__(self, policy: ActorCriticLM, env: TextGenVectorEnv, **options: Unpack[OnPolicyOptions]) -> None:
        options.setdefault("group_size", 8)
        super().__init__(policy, env, **options)
        require_at_least(2, group_size=self.group_size)

    def advantages(self, rollout: Rollout) -> Targets:
        """`group_size` for the tokens of the best completion of a group, 0 for the others."""
        mask = rollout.completion_mask
        groups = returns_to_go(rollout.rewards, mask, gamma=self.gamma)[:, 0].view(-1, self.group_size)
        best = one_hot(groups.argmax(dim=1), self.group_size).to(groups.dtype)
        return Targets(to_tokens(self.group_size * best, mask))

    def weights(self, mask: Tensor) -> Tensor:
        """Sums over tokens, means over episodes: with `advantages`, the mean over the best completions."""
        return mask / len(mask)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        logprobs = self.policy.evaluate(batch.rollout, entropies=False).logprobs
        nll = policy_gradient_loss(logprobs, batch.targets.advantages, batch.weights)
        return nll + self.kl_loss(logprobs, batch), {"nll_loss": nll}
