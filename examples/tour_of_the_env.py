"""A tour of the environment: one episode, token by token, with its reward ledger.

You will see a prompt, the tokens that a random agent appends to it, and what each was paid. Takes about half a second.
"""

from dataclasses import dataclass

import gymnasium
import tyro

import textrl_env
from textrl_env.worlds import EnumerableWorld


@dataclass(frozen=True)
class Args:
    """Options of the tour."""

    seed: int = 0
    """Of the prompt and the agent."""


def main(args: Args) -> dict[str, float]:
    """Plays one episode and returns its return."""
    world = EnumerableWorld(vocab_size=8, horizon=6)
    env = gymnasium.make(
        "TextRL/TextGen-v0",
        prompts=world.prompts,
        reward={"world": world.reward, "length": textrl_env.Weighted(textrl_env.LengthPenalty(free=3), weight=0.1)},
        tokenizer=world.tokenizer,
        max_new_tokens=world.horizon,
        render_mode="ansi",
    )
    observation, info = env.reset(seed=args.seed)
    env.action_space.seed(args.seed)
    total, ended = 0.0, False
    while not ended:
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        total, ended = total + float(reward), terminated or truncated
    print(env.render())
    print(f"ended by {info['finish_reason']!r} after {info['n_completion_tokens']} tokens, return {total:+.3f}")
    print("the newest tokens of the observation:", observation["input_ids"][-4:])
    return {"return": total}


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
