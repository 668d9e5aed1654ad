"""`textrl ppo`: PPO of the actor-critic LM in the vector environment, against a frozen copy of the SFT model."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from textrl_env.cli.on_policy import TrainOnPolicy
from textrl_env.cli.optional import OptionalPath
from textrl_env.cli.run_folder import existing_model
from textrl_env.errors import InputError

if TYPE_CHECKING:
    from textrl_env.agents import PPO, ActorCriticLM


@dataclass(frozen=True)
class TrainPPO(TrainOnPolicy):
    """Trains a policy with PPO on a reward model's score and KL shaping; writes RUN/policy and RUN/ppo."""

    n_epochs: int = 2
    """Passes over an update's completions."""
    gae_lambda: float = 0.95
    """λ of generalized advantage estimation."""
    critic: Literal["separate", "shared"] = "separate"
    """Own trunk, or head on the policy's."""
    critic_from: OptionalPath = None
    """Reward model that the critic starts as; else the policy."""

    def __post_init__(self) -> None:
        if self.critic_from is not None and self.critic != "separate":
            raise InputError(f"critic_from is for critic separate, got {self.critic}")

    @property
    def folder(self) -> str:
        return "ppo"

    @property
    def writes(self) -> tuple[str, ...]:
        return "ppo", "policy"

    @property
    def n_trained(self) -> int:
        return 2 if self.critic == "separate" else 1

    def exported(self, run_dir: Path) -> Path:
        return run_dir / "policy"

    def agent(self, start: Path, *, vocab_size: int) -> "ActorCriticLM":
        from textrl_env.agents import ActorCriticLM
        from textrl_env.agents.policy import init_critic_from
        from textrl_env.lm import load_tokenizer

        if self.critic_from is not None:
            existing_model(self.critic_from, made_by="textrl reward-model")
        agent = ActorCriticLM.from_pretrained(start, vocab_size=vocab_size, critic=self.critic)
        if self.critic_from is not None:
            init_critic_from(agent, self.critic_from, load_tokenizer(start))
        return agent

    def make(self, agent: Any, env: Any, **options: Any) -> "PPO":
        from textrl_env.agents import PPO

        return PPO(agent, env, n_epochs=self.n_epochs, gae_lambda=self.gae_lambda, **options)
