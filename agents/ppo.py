"""Proximal policy optimisation with a critic (Schulman et al. 2017), on whole completions."""

from pathlib import Path

from torch import Tensor

from textrl_env import InputError, TextGenVectorEnv
from textrl_env.agents.actor_critic import ActorCriticLM
from textrl_env.agents.gae import gae
from textrl_env.agents.losses import explained_variance, masked_mean, ppo_policy_loss, value_loss, whiten
from textrl_env.agents.on_policy import OnPolicyAlgorithm, Schedule, Targets
from textrl_env.agents.rollout import Rollout
from textrl_env.errors import require_above, require_at_least


class PPO(OnPolicyAlgorithm):
    """PPO over tokens: the policy and the critic are updated together on clipped losses.

    KL shaping is the environment's; there is no KL term in the loss.

    Args:
        policy, env, n_episodes, batch_size, n_epochs, gamma, max_grad_norm, log_dir, verbose, seed: see
            `OnPolicyAlgorithm`.
        learning_rate: of Adam, for policy and critic.
        gae_lambda: λ of generalized advantage estimation, in [0, 1].
        clip_range: the policy ratio may leave 1 by this much before its gradient stops, in (0, 1).
        clip_range_vf: the value may leave its old value by this much, above 0; None does not clip it.
        normalize_advantage: whiten the advantages over the tokens of an update.
        ent_coef: weight of the entropy bonus, 0 or more.
        vf_coef: weight of the critic's loss, 0 or more.
    """

    def __init__(
        self,
        policy: ActorCriticLM,
        env: TextGenVectorEnv,
        *,
        learning_rate: float | Schedule = 3e-4,
        n_episodes: int = 64,
        batch_size: int | None = None,
        n_epochs: int = 4,
        gamma: float = 1.0,
        gae_lambda: float = 0.95,
        clip_range: float = 0.2,
        clip_range_vf: float | None = None,
        normalize_advantage: bool = True,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 1.0,
        log_dir: str | Path | None = None,
        verbose: int = 0,
        seed: int = 0,
    ) -> None:
        if not 0 < clip_range < 1:
            raise InputError(f"clip_range must be in (0, 1), got {clip_range}")
        if clip_range_vf is not None:
            require_above(0, clip_range_vf=clip_range_vf)
        if not 0 <= gae_lambda <= 1:
            raise InputError(f"gae_lambda must be in [0, 1], got {gae_lambda}")
        require_at_least(0, ent_coef=ent_coef, vf_coef=vf_coef)
        super().__init__(
            policy, env, learning_rate=learning_rate, n_episodes=n_episodes, batch_size=batch_size, n_epochs=n_epochs,
            gamma=gamma, max_grad_norm=max_grad_norm, log_dir=log_dir, verbose=verbose, seed=seed,
        )  # fmt: skip
        self.gae_lambda = gae_lambda
        self.clip_range, self.clip_range_vf = clip_range, clip_range_vf
        self.normalize_advantage = normalize_advantage
        self.ent_coef, self.vf_coef = ent_coef, vf_coef

    def advantages(self, rollout: Rollout) -> Targets:
        mask = rollout.completion_mask
        values, bootstrap = self._values(rollout)
        advantages, returns = gae(rollout.rewards, values, bootstrap, mask, gamma=self.gamma, lam=self.gae_lambda)
        if (explained := explained_variance(values, returns, mask)) is not None:
            self.logger.record("train/explained_variance", explained)
        self.logger.record("train/value_mean", float(masked_mean(values, mask)))
        return Targets(whiten(advantages, mask) if self.normalize_advantage else advantages, returns, values)

    def loss(self, batch: Rollout, targets: Targets) -> tuple[Tensor, dict[str, Tensor]]:
        assert targets.returns is not None and targets.values is not None
        mask = batch.completion_mask
        logprobs, entropies, values = self.policy.evaluate(batch)
        policy_loss, statistics = ppo_policy_loss(
            logprobs, batch.logprobs, targets.advantages, mask, clip_range=self.clip_range
        )
        critic_loss = value_loss(values, targets.values, targets.returns, mask, clip_range=self.clip_range_vf)
        entropy = masked_mean(entropies, mask)
        loss = policy_loss + self.vf_coef * critic_loss - self.ent_coef * entropy
        return loss, statistics | {
            "policy_gradient_loss": policy_loss,
            "value_loss": critic_loss,
            "entropy_loss": -entropy,
        }

    def _values(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Values of the states before each token (B, C), and of the state after a cut completion (B,), else 0."""
        if not rollout.truncated.any():
            return self.policy.values(rollout), rollout.scores.new_zeros(len(rollout))
        # A cut completion has the full length, so the state after its last token is the last one read.
        values = self.policy.values(rollout, after=True)
        return values[:, :-1], values[:, -1] * rollout.truncated
