"""Rejection-sampling fine-tuning (RAFT, Dong et al. 2023): supervised learning of the best of each group."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import one_hot

from textrl_env.agents.maths import policy_gradient_loss, returns_to_go, to_tokens
from textrl_env.agents.on_policy import OnPolicyAlgorithm
from textrl_env.agents.rollout import Batch, Rollout, Targets
from textrl_env.errors import require_count


@dataclass(eq=False, repr=False, kw_only=True)
class RejectionSampling(OnPolicyAlgorithm):
    """The completion with the highest return of each prompt becomes a demonstration, the others are rejected.

    Its loss is the negative log-likelihood of best-of-n samples, n = `group_size`: the policy moves towards what
    best-of-n would write.

    The arguments are `policy`, `env`, and as keywords the options of `OnPolicyOptions`.
    """

    group_size: int = 8
    """Completions per prompt, at least 2; must divide `n_episodes`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count(2, group_size=self.group_size)

    def advantages(self, rollout: Rollout) -> Targets:
        """Returns `group_size` for the tokens of the best completion of a group, 0 for the others."""
        mask = rollout.completion_mask
        groups = returns_to_go(rollout.rewards, mask, gamma=self.gamma)[:, 0].view(-1, self.group_size)
        best = one_hot(groups.argmax(dim=1), self.group_size).to(groups.dtype)
        return Targets(to_tokens(self.group_size * best, mask))

    def weights(self, mask: Tensor) -> Tensor:
        """Sums over tokens, averages over episodes: with `advantages`, the mean over the best completions."""
        return mask / len(mask)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the negative log-likelihood of the best completions, and the KL term."""
        logprobs = self.policy.evaluate(batch.rollout, entropies=False).logprobs
        nll = policy_gradient_loss(logprobs, batch.targets.advantages, batch.weights)
        return nll + self.kl_loss(logprobs, batch), {"nll_loss": nll}
