"""`textrl train`: the on-policy algorithms beside PPO."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from textrl_env.cli.on_policy import TrainOnPolicy
from textrl_env.cli.optional import OptionalInt

if TYPE_CHECKING:
    from textrl_env.agents import ActorCriticLM, OnPolicyAlgorithm

CLASSES = {
    "a2c": "A2C",
    "reinforce": "REINFORCE",
    "rloo": "RLOO",
    "grpo": "GRPO",
    "dr-grpo": "DrGRPO",
    "rejection": "RejectionSampling",
}
"""Name on the command line -> class in `textrl_env.agents`."""


@dataclass(frozen=True)
class TrainPolicy(TrainOnPolicy):
    """As ppo, with another algorithm; writes RUN/ALGORITHM."""

    algorithm: Literal["a2c", "reinforce", "rloo", "grpo", "dr-grpo", "rejection"] = "rloo"
    """Which; docs/algorithms has a page on each."""
    learning_rate: float = 5e-4
    """Adam's; it falls linearly to a tenth."""
    group_size: OptionalInt = None
    """Completions a prompt; else the algorithm's own number."""
    n_epochs: OptionalInt = None
    """Passes over them; else the algorithm's own number."""

    @property
    def folder(self) -> str:
        return self.algorithm

    @property
    def n_trained(self) -> int:
        return 2 if self._class().needs_critic else 1

    def exported(self, run_dir: Path) -> Path:
        return run_dir / self.folder / "policy"

    def agent(self, start: Path, *, vocab_size: int) -> "ActorCriticLM":
        from textrl_env.agents import ActorCriticLM

        critic: Literal["separate", "none"] = "separate" if self._class().needs_critic else "none"
        return ActorCriticLM.from_pretrained(start, vocab_size=vocab_size, critic=critic)

    def make(self, agent: Any, env: Any, **options: Any) -> "OnPolicyAlgorithm":
        given = {"group_size": self.group_size, "n_epochs": self.n_epochs}
        options |= {name: value for name, value in given.items() if value is not None}
        made: OnPolicyAlgorithm = self._class()(agent, env, **options)
        return made

    def _class(self) -> Any:
        from textrl_env import agents

        return getattr(agents, CLASSES[self.algorithm])
