"""REINFORCE with a baseline (Williams 1992)."""

from dataclasses import dataclass

from torch import Tensor

from textrl_env.agents.maths import others_mean, policy_gradient_loss, returns_to_go
from textrl_env.agents.on_policy import OnPolicyAlgorithm
from textrl_env.agents.rollout import Batch, Rollout, Targets
from textrl_env.errors import require_count


@dataclass(eq=False, repr=False, kw_only=True)
class REINFORCE(OnPolicyAlgorithm):
    """The log-probability of each token times the rewards that followed it, less the other completions' mean return.

    The arguments are `policy`, `env`, and as keywords the options of `OnPolicyOptions`; `n_episodes` is at least 2.
    """

    n_epochs: int = 1
    """One pass, since the gradient is that of the policy that sampled."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count(2, n_episodes=self.n_episodes)

    def advantages(self, rollout: Rollout) -> Targets:
        """Subtracts the mean return of the other completions from the rewards that followed a token."""
        returns = returns_to_go(rollout.rewards, rollout.completion_mask, gamma=self.gamma)
        baseline = others_mean(returns[None, :, 0])
        return Targets(returns - baseline.T)

    def weights(self, mask: Tensor) -> Tensor:
        """Sums over tokens, averages over episodes: the gradient is that of the expected return."""
        return mask / len(mask)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the policy gradient's loss and the KL term."""
        logprobs = self.policy.evaluate(batch.rollout, entropies=False).logprobs
        policy_loss = policy_gradient_loss(logprobs, batch.targets.advantages, batch.weights)
        return policy_loss + self.kl_loss(logprobs, batch), {"policy_gradient_loss": policy_loss}
