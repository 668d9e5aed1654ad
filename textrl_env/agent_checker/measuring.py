"""What an agent reached: its policy is watched, not asked, so that any agent can be measured."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from textrl_env.agent_checker.completions import count, estimate
from textrl_env.agent_checker.rung import Rung
from textrl_env.errors import InputError

Array = npt.NDArray[Any]
NORMAL_95 = 1.96


class Agent(Protocol):
    """What can be checked; the models of Stable-Baselines3 and the algorithms of `textrl_env.agents` are such."""

    def learn(self, total_timesteps: int) -> Any:
        """Trains in the environment that the agent was made with, on about this many tokens."""

    def predict(self, observation: dict[str, Array], *, deterministic: bool = False) -> tuple[Array, Any]:
        """Sampled tokens (N,) for the rows (N, L) of an observation, and a state, which is ignored.

        Every row is a running episode; N may differ from call to call.
        """


def measure(agent: Agent, rung: Rung, *, n_episodes: int, seed: int) -> tuple[float, float]:
    """The objective of the policy that the agent samples from, and half its 95 % interval.

    Every prompt gets the same number of episodes, `n_episodes` in all or a few more.
    """
    per_prompt = -(-n_episodes // len(rung.prompts))
    drawn = play(agent, rung, per_prompt, seed=seed)
    parts = [
        estimate(count(completions, drawn[start : start + per_prompt]), completions, coef=rung.coef)
        for completions, start in zip(rung.completions, range(0, len(drawn), per_prompt), strict=True)
    ]
    means, errors = np.array(parts).T
    return float(means.mean()), float(NORMAL_95 * np.sqrt((errors**2).sum()) / len(errors))


def play(agent: Agent, rung: Rung, per_prompt: int, *, seed: int) -> list[tuple[int, ...]]:
    """Completions as token ids, `per_prompt` of the first prompt, then of the second, and so on."""
    slots = np.arange(len(rung.prompts)).repeat(per_prompt)
    env = rung.playing_env(len(slots))
    observation, info = env.reset(seed=seed, options={"prompt_index": slots})
    while (live := env.live).any():
        tokens = np.zeros(len(slots), dtype=np.int64)
        tokens[live] = _predicted(agent, {key: rows[live] for key, rows in observation.items()})
        observation, _, _, _, info = env.step(tokens)
    lengths = info["n_completion_tokens"]
    return [tuple(ids[-length:].tolist()) for ids, length in zip(observation["input_ids"], lengths, strict=True)]


def _predicted(agent: Agent, observation: dict[str, Array]) -> Array:
    answer = agent.predict(observation, deterministic=False)
    n = len(observation["input_ids"])
    tokens = np.asarray(answer[0]) if isinstance(answer, tuple) and len(answer) == 2 else np.empty(0)
    if tokens.shape != (n,) or tokens.dtype.kind not in "iu":
        raise InputError(
            f"predict() must return a pair: {n} integer token ids, one for each row of the observation, and a state "
            f"(None will do); got {answer!r:.200}"
        )
    return tokens
