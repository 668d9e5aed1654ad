"""The Gymnasium ids: the environment itself, and one a built-in world.

    env = gymnasium.make("TextRL/TextGen-v0", prompts=prompts, reward=reward, tokenizer=tokenizer, max_new_tokens=32)
    env = gymnasium.make("TextRL/Copy-v0", length=5, render_mode="ansi")
    envs = gymnasium.make_vec("TextRL/Copy-v0", num_envs=64, length=5)

`TextRL/TextGen-v0` takes the arguments of `textrl_env.TextGenEnv`. A world's id takes the world's parameters, and those
arguments beside them; `textrl_env.worlds.world` says how a world of your own gets an id.

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
"""The place of each id's world, `module:Class`."""


def register_environments() -> None:
    """Makes the ids known to `gymnasium.make` and `gymnasium.make_vec`; `import textrl_env` calls it."""
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
