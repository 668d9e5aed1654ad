"""What every world has, so that it makes an environment and a run on it can be judged."""

from typing import Any, Protocol

from textrl_env.data.text import Tokenizer


class World(Protocol):
    """A text task with ground truth; its parameters are the fields of a frozen dataclass.

    `TextGenEnv(world.prompts, world.reward, world.tokenizer, max_new_tokens=world.max_new_tokens)` is its
    environment, and `textrl_env.worlds.making` makes it from the world's name.
    """

    @property
    def prompts(self) -> list[str]:
        """Distinct prompts, decided by the world's parameters and seed."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Splits every text of the world into the tokens that the agent chooses from."""

    @property
    def max_new_tokens(self) -> int:
        """The length limit: it leaves room for every best completion and its end token."""

    @property
    def best_return(self) -> float:
        """The best mean score that any policy reaches on the prompts, drawn uniformly."""

    def reward(self, prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
        """The score of each completion: a reward function of `textrl_env.mdp.rewards`."""
