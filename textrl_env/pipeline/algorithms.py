"""PPO, and the on-policy algorithms beside it, as stages."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from textrl_env.errors import InputError, require_count, require_within
from textrl_env.pipeline.on_policy import train_policy
from textrl_env.pipeline.policy_inputs import PolicyInputs, PolicyOptions
from textrl_env.pipeline.runs import require_model

if TYPE_CHECKING:
    from textrl_env.agents import ActorCriticLM

CLASSES = {
    "a2c": "A2C",
    "reinforce": "REINFORCE",
    "rloo": "RLOO",
    "grpo": "GRPO",
    "dr-grpo": "DrGRPO",
    "rejection": "RejectionSampling",
}
"""Name among the options -> class in `textrl_env.agents`."""


@dataclass(frozen=True)
class PPOOptions(PolicyOptions):
    """Trains a policy with PPO on a reward model's score and KL shaping; writes RUN/policy and RUN/ppo."""

    n_epochs: int = 2
    """Passes over an update's completions."""
    gae_lambda: float = 0.95
    """λ of generalized advantage estimation."""
    critic: Literal["separate", "shared"] = "separate"
    """Own trunk, or head on the policy's."""
    critic_from: Path | None = None
    """Reward model that the critic starts as; else the policy."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count(1, n_epochs=self.n_epochs)
        require_within("[0, 1]", gae_lambda=self.gae_lambda)
        if self.critic_from is not None and self.critic != "separate":
            raise InputError(f"critic_from is for critic separate, got {self.critic}")

    @property
    def folder(self) -> str:
        """The stage's folder in the run's."""
        return "ppo"

    @property
    def exports(self) -> str:
        """The folder of the trained policy in the run's."""
        return "policy"


@dataclass(frozen=True)
class TrainOptions(PolicyOptions):
    """Trains as ppo does, with another algorithm; writes RUN/ALGORITHM."""

    algorithm: Literal["a2c", "reinforce", "rloo", "grpo", "dr-grpo", "rejection"] = "rloo"
    """Which; docs/algorithms has a page on each."""
    learning_rate: float = 5e-4
    """Adam's; it falls linearly to a tenth."""
    group_size: int | None = None
    """Completions a prompt; else the algorithm's own number."""
    n_epochs: int | None = None
    """Passes over them; else the algorithm's own number."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.group_size is not None:
            require_count(1, group_size=self.group_size)
        if self.n_epochs is not None:
            require_count(1, n_epochs=self.n_epochs)

    @property
    def folder(self) -> str:
        """The stage's folder in the run's."""
        return self.algorithm


def run_ppo(options: PPOOptions, run_dir: Path, seed: int = 0) -> dict[str, Any]:
    """Trains a policy with PPO, from RUN/sft on the score of RUN/reward_model; writes RUN/policy and RUN/ppo.

    Returns:
        The number of updates, and mean score and KL (nats a completion) of the last rollout.

    Raises:
        InputError: an option or a row is wrong, or a model is missing; it is named.
        StageStoppedError: a signal ended the training; the policy so far is saved.
    """
    from textrl_env.agents import PPO

    algorithm = partial(PPO, n_epochs=options.n_epochs, gae_lambda=options.gae_lambda)
    build_agent = partial(_build_ppo_agent, options)
    return train_policy(options, run_dir, seed, build_agent=build_agent, algorithm=algorithm)


def run_train(options: TrainOptions, run_dir: Path, seed: int = 0) -> dict[str, Any]:
    """Trains a policy as `run_ppo` does, with another algorithm; writes RUN/ALGORITHM with policy/ in it."""
    from textrl_env import agents

    kind = getattr(agents, CLASSES[options.algorithm])
    sizes = {"group_size": options.group_size, "n_epochs": options.n_epochs}
    algorithm = partial(kind, **{name: size for name, size in sizes.items() if size is not None})
    critic: Literal["separate", "none"] = "separate" if kind.needs_critic else "none"

    def build_agent(inputs: PolicyInputs) -> "ActorCriticLM":
        return agents.ActorCriticLM.from_pretrained(inputs.start, vocab_size=len(inputs.tokenizer), critic=critic)

    return train_policy(options, run_dir, seed, build_agent=build_agent, algorithm=algorithm)


def _build_ppo_agent(options: PPOOptions, inputs: PolicyInputs) -> "ActorCriticLM":
    from textrl_env.agents import ActorCriticLM
    from textrl_env.agents.policy import init_critic_from

    critic_start = None
    if options.critic_from is not None:
        critic_start = require_model(options.critic_from, made_by="textrl reward-model")
    agent = ActorCriticLM.from_pretrained(inputs.start, vocab_size=len(inputs.tokenizer), critic=options.critic)
    if critic_start is not None:
        init_critic_from(agent, critic_start, inputs.tokenizer)
    return agent
