"""The Gymnasium ids: the environment itself, and one a built-in world.

Entry points are texts, so that registering imports nothing.
"""

import gymnasium

WORLDS = {
    "TextRL/Enumerable-v0": "textrl_env.worlds.enumerable:EnumerableWorld",
    "TextRL/Copy-v0": "textrl_env.worlds.copying:CopyWorld",
    "TextRL/Reverse-v0": "textrl_env.worlds.copying:ReverseWorld",
    "TextRL/Sort-v0": "textrl_env.worlds.numbers:SortWorld",
    "TextRL/Arithmetic-v0": "textrl_env.worlds.numbers:ArithmeticWorld",
    "TextRL/Hackable-v0": "textrl_env.worlds.hackable:HackableWorld",
    "TextRL/SupportDesk-v0": "textrl_env.worlds.support_desk.world:SupportDeskWorld",
}
"""Id -> where its world is."""


def register_environments() -> None:
    """Makes the ids known to `gymnasium.make` and `gymnasium.make_vec`."""
    gymnasium.register(
        id="TextRL/TextGen-v0",
        entry_point="textrl_env.mdp.env:TextGenEnv",
        vector_entry_point="textrl_env.mdp.vector_env:TextGenVectorEnv",
    )
    for name, world in WORLDS.items():
        gymnasium.register(
            id=name,
            entry_point="textrl_env.worlds.world:make_env",
            vector_entry_point="textrl_env.worlds.world:make_vector_env",
            kwargs={"world": world},
        )
