"""REINFORCE leave-one-out (Kool et al. 2019; Ahmadian et al. 2024)."""

from dataclasses import dataclass

from torch import Tensor

from textrl_env.agents.maths import others_mean, policy_gradient_loss, returns_to_go, to_tokens
from textrl_env.agents.on_policy import OnPolicyAlgorithm
from textrl_env.agents.rollout import Batch, Rollout, Targets
from textrl_env.errors import require_count


@dataclass(eq=False, repr=False, kw_only=True)
class RLOO(OnPolicyAlgorithm):
    """A completion is one action; its return is compared with those of the other completions of the same prompt.

    The arguments are `policy`, `env`, and as keywords the options of `OnPolicyOptions`.
    """

    group_size: int = 4
    """Completions per prompt, at least 2; must divide `n_episodes`."""
    n_epochs: int = 1
    """One pass, since the gradient is that of the policy that sampled."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count(2, group_size=self.group_size)

    def advantages(self, rollout: Rollout) -> Targets:
        """Subtracts from each return the mean of the others of its group."""
        mask = rollout.completion_mask
        groups = returns_to_go(rollout.rewards, mask, gamma=self.gamma)[:, 0].view(-1, self.group_size)
        return Targets(to_tokens(groups - others_mean(groups), mask))

    def weights(self, mask: Tensor) -> Tensor:
        """Sums over tokens, averages over episodes: a completion is one action."""
        return mask / len(mask)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the policy gradient's loss and the KL term."""
        logprobs = self.policy.evaluate(batch.rollout, entropies=False).logprobs
        policy_loss = policy_gradient_loss(logprobs, batch.targets.advantages, batch.weights)
        return policy_loss + self.kl_loss(logprobs, batch), {"policy_gradient_loss": policy_loss}
