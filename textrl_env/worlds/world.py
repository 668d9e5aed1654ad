"""The interface of worlds, and environments from a world's name: the entry points of `textrl_env.registry`.

A world of your own gets an id the same way:

    gymnasium.register(
        "My/World-v0",
        entry_point="textrl_env.worlds.world:make_env",
        vector_entry_point="textrl_env.worlds.world:make_vector_env",
        kwargs={"world": "my_package.my_module:MyWorld"},
    )
"""

from dataclasses import fields
from typing import Any, Protocol

from gymnasium.envs.registration import load_env_creator

from textrl_env.data.text import Tokenizer
from textrl_env.mdp import TextGenEnv, TextGenVectorEnv


class World(Protocol):
    """A text task with ground truth; its parameters are the fields of a frozen dataclass.

    `TextGenEnv(world.prompts, world.reward, world.tokenizer, max_new_tokens=world.max_new_tokens)` is its
    environment, and `make_env` makes it from the world's name.
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
        """Scores each completion: a reward function of `textrl_env.mdp`."""


def make_env(world: str, **options: Any) -> TextGenEnv:
    """Makes the environment of a world.

    Args:
        world: where a class that satisfies `World` is, `"module:Class"`; a dataclass.
        options: fields of the world, and arguments of `TextGenEnv`, which win over what the world says.

    Raises:
        InputError: an impossible value, named.
        TypeError: an option that neither the world nor the environment has, named.
    """
    return TextGenEnv(**_arguments(world, options))


def make_vector_env(world: str, **options: Any) -> TextGenVectorEnv:
    """Makes the vector environment of a world; `options` are as for `make_env`, with those of `TextGenVectorEnv`."""
    return TextGenVectorEnv(**_arguments(world, options))


def _arguments(name: str, options: dict[str, Any]) -> dict[str, Any]:
    world_class: Any = load_env_creator(name)
    parameters = {field.name for field in fields(world_class)} & set(options)
    world = world_class(**{key: options[key] for key in parameters})
    return {
        "prompts": world.prompts,
        "reward": world.reward,
        "tokenizer": world.tokenizer,
        "max_new_tokens": world.max_new_tokens,
    } | {key: value for key, value in options.items() if key not in parameters}
