"""Environments from a world's name: the entry points of the ids in `textrl_env.registry`.

A world of one's own gets an id the same way:

    gymnasium.register(
        "My/World-v0",
        entry_point="textrl_env.worlds.making:make_env",
        vector_entry_point="textrl_env.worlds.making:make_vector_env",
        kwargs={"world": "my_package.my_module:MyWorld"},
    )
"""

from dataclasses import fields
from typing import Any

from gymnasium.envs.registration import load_env_creator

from textrl_env.mdp import TextGenEnv, TextGenVectorEnv


def make_env(world: str, **options: Any) -> TextGenEnv:
    """The environment of a world.

    Args:
        world: where a class that satisfies `textrl_env.worlds.world.World` is, `"module:Class"`; a dataclass.
        options: fields of the world, and arguments of `TextGenEnv`, which win over what the world says.

    Raises:
        InputError: an impossible value, named.
        TypeError: an option that neither the world nor the environment has, named.
    """
    return TextGenEnv(**_arguments(world, options))


def make_vector_env(world: str, **options: Any) -> TextGenVectorEnv:
    """The vector environment of a world; `options` are as for `make_env`, with those of `TextGenVectorEnv`."""
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
