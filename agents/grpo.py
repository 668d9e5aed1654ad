"""Group relative policy optimisation (Shao et al. 2024), and the variant without its biases (Liu et al. 2025)."""

from dataclasses import dataclass

from torch import Tensor

from textrl_env.agents.maths import group_normalised, ppo_policy_loss, returns_to_go, to_tokens
from textrl_env.agents.on_policy import OnPolicyAlgorithm
from textrl_env.agents.rollout import Batch, Rollout, Targets
from textrl_env.errors import require_count, require_within
from textrl_env.mdp import Estimator


@dataclass(eq=False, repr=False, kw_only=True)
class GRPO(OnPolicyAlgorithm):
    """PPO's clipped surrogate without a critic: returns are normalised within the completions of a prompt.

    Dividing by the group's standard deviation weighs prompts by how alike their completions score, and the mean over
    each completion's tokens weighs a token less in a long completion: the gradient is not that of the expected return.

    The arguments are `policy`, `env`, and as keywords the options of `OnPolicyOptions` and `clip_range`. The paper's KL
    term stands in the loss: `kl_loss_coef` and `reference`.
    """

    group_size: int = 8
    """Completions per prompt, at least 2; must divide `n_episodes`."""
    kl_loss_estimator: Estimator = "k3"
    """Of the KL term, as in the paper."""
    clip_range: float = 0.2
    """The policy ratio may leave 1 by this much before its gradient stops, in (0, 1)."""

    def __post_init__(self) -> None:
        require_within("(0, 1)", clip_range=self.clip_range)
        super().__post_init__()
        require_count(2, group_size=self.group_size)

    def advantages(self, rollout: Rollout) -> Targets:
        """Normalises the returns within each group."""
        return Targets(to_tokens(group_normalised(self._groups(rollout)), rollout.completion_mask))

    def weights(self, mask: Tensor) -> Tensor:
        """Averages over a completion's tokens, then over episodes."""
        return mask / mask.sum(dim=1, keepdim=True) / len(mask)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the clipped policy loss and the KL term."""
        logprobs = self.policy.evaluate(batch.rollout, entropies=False).logprobs
        policy_loss, statistics = ppo_policy_loss(
            logprobs, batch.rollout.logprobs, batch.targets.advantages, batch.weights, clip_range=self.clip_range
        )
        statistics["policy_gradient_loss"] = policy_loss
        return policy_loss + self.kl_loss(logprobs, batch), statistics

    def _groups(self, rollout: Rollout) -> Tensor:
        returns = returns_to_go(rollout.rewards, rollout.completion_mask, gamma=self.gamma)
        return returns[:, 0].view(-1, self.group_size)


class DrGRPO(GRPO):
    """GRPO "done right" (Liu et al. 2025, section 3.2): neither the standard deviation nor the lengths divide.

    Its gradient is that of the expected return, times the constant (1 - 1 / `group_size`) / `max_new_tokens`.
    """

    def advantages(self, rollout: Rollout) -> Targets:
        """Subtracts each group's mean return."""
        groups = self._groups(rollout)
        return Targets(to_tokens(groups - groups.mean(dim=1, keepdim=True), rollout.completion_mask))

    def weights(self, mask: Tensor) -> Tensor:
        """Weighs all tokens alike: averages over episodes and over the longest possible completion."""
        return mask / (len(mask) * self.env.task.max_new_tokens)
