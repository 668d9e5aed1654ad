"""`check_agent`: an algorithm climbs a ladder of tiny worlds whose best values are known exactly."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode
from rich.console import Console

from textrl_env.agent_checker.completions import count, estimate
from textrl_env.agent_checker.ladder import LADDER
from textrl_env.agent_checker.report import AgentReport, RungResult
from textrl_env.agent_checker.rung import KLMode, Rung
from textrl_env.errors import InputError, require_count, require_seed
from textrl_env.mdp import TextGenVectorEnv
from textrl_env.training import progress_bar

Array = npt.NDArray[Any]
NORMAL_95 = 1.96


class Agent(Protocol):
    """An agent to check, such as a model of Stable-Baselines3 or an algorithm of `textrl_env.agents`."""

    def learn(self, total_timesteps: int) -> Any:
        """Trains in the environment that the agent was made with, on about this many tokens."""

    def predict(self, observation: dict[str, Array], *, deterministic: bool = False) -> tuple[Array, Any]:
        """Returns sampled tokens (N,) for the rows (N, L) of an observation, and a state, which is ignored.

        Every row is a running episode; N may differ from call to call.
        """


MakeAgent = Callable[[TextGenVectorEnv, int], Agent]


def check_agent(
    make_agent: MakeAgent,
    *,
    seed: int = 0,
    ladder: Sequence[Rung] = LADDER,
    num_envs: int = 64,
    autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    kl_mode: KLMode = "reference",
    n_episodes: int = 2048,
    verbose: int = 1,
) -> AgentReport:
    """Trains an agent on every rung and compares it with the oracle, random choice and best-of-n.

    The agent learns in a `TextGenVectorEnv` and is then watched for `n_episodes` episodes while it samples. Nothing
    but `learn` and `predict` is asked of it: where the objective has a KL term, that is estimated from how often each
    completion was drawn.

    Args:
        make_agent: `(env, seed) -> agent`, a fresh one for every rung; see `Agent`. `env.kl_coef` is the rung's KL
            coefficient (0 on all but the last), `env.task.tokenizer` its tokenizer.
        seed: given to `make_agent` and to the episodes; the same seed gives the same report if the agent is
            deterministic for a seed.
        ladder: the rungs, lowest first; `dataclasses.replace(rung, timesteps=…)` changes a budget.
        num_envs: episodes at a time in the environment that the agent learns in.
        autoreset_mode: of that environment.
        kl_mode: of that environment. In mode "reference" the actions are tokens and the KL objective needs an entropy
            bonus of weight `env.kl_coef` from the agent; in "sampled" and "exact" they carry log-probabilities, on
            every rung.
        n_episodes: to measure an agent on, per rung; at least 1 per prompt.
        verbose: 1 prints the table, 0 prints nothing.

    Returns:
        the report. It does not raise for an agent that falls short: call `report.raise_for_failures()`, or
        `assert report.passed, str(report)` in a test.

    Raises:
        InputError: an impossible option, or what `predict` returned is not actions. Errors of the agent itself are
            passed on; a note says on which rung they came.
    """
    require_count(1, n_episodes=n_episodes, num_envs=num_envs)
    require_seed(seed)
    if not ladder:
        raise InputError("ladder must hold a rung at least")
    results = []
    with progress_bar("check_agent", len(ladder)) as advance:
        for rung in ladder:
            env = rung.training_env(num_envs=num_envs, autoreset_mode=autoreset_mode, kl_mode=kl_mode)
            try:
                agent = make_agent(env, seed)
                agent.learn(total_timesteps=rung.timesteps)
                value, margin = measure(agent, rung, n_episodes=n_episodes, seed=seed)
            except Exception as error:
                error.add_note(f"check_agent: on the rung {rung.name!r}")
                raise
            results.append(_result(rung, value, margin))
            advance(note=rung.name)
    report = AgentReport(tuple(results))
    if verbose:
        Console().print(report.table())
    return report


def _result(rung: Rung, agent: float, margin: float) -> RungResult:
    names = ("name", "asks", "cause", "coef", "timesteps", "n", "random", "best_of_n", "oracle", "mark")
    return RungResult(**{name: getattr(rung, name) for name in names}, agent=agent, margin=margin)


def measure(agent: Agent, rung: Rung, *, n_episodes: int, seed: int) -> tuple[float, float]:
    """Estimates the objective of the policy that the agent samples from, and half its 95 % interval.

    Every prompt gets the same number of episodes, `n_episodes` in all or a few more.
    """
    per_prompt = -(-n_episodes // len(rung.prompts))
    samples = play(agent, rung, per_prompt, seed=seed)
    parts = [
        estimate(count(completions, samples[start : start + per_prompt]), completions, coef=rung.coef)
        for completions, start in zip(rung.completions, range(0, len(samples), per_prompt), strict=True)
    ]
    means, errors = np.array(parts).T
    return float(means.mean()), float(NORMAL_95 * np.sqrt((errors**2).sum()) / len(errors))


def play(agent: Agent, rung: Rung, per_prompt: int, *, seed: int) -> list[tuple[int, ...]]:
    """Samples completions as token ids, `per_prompt` of the first prompt, then of the second, and so on."""
    slots = np.arange(len(rung.prompts)).repeat(per_prompt)
    env = rung.playing_env(len(slots))
    observation, info = env.reset(seed=seed, options={"prompt_index": slots})
    while (live := env.live).any():
        tokens = np.zeros(len(slots), dtype=np.int64)
        tokens[live] = _predict(agent, {key: rows[live] for key, rows in observation.items()})
        observation, _, _, _, info = env.step(tokens)
    lengths = info["n_completion_tokens"]
    return [tuple(ids[-length:].tolist()) for ids, length in zip(observation["input_ids"], lengths, strict=True)]


def _predict(agent: Agent, observation: dict[str, Array]) -> Array:
    answer = agent.predict(observation, deterministic=False)
    n = len(observation["input_ids"])
    tokens = np.asarray(answer[0]) if isinstance(answer, tuple) and len(answer) == 2 else np.empty(0)
    if tokens.shape != (n,) or tokens.dtype.kind not in "iu":
        raise InputError(
            f"predict() must return a pair: {n} integer token ids, one for each row of the observation, and a state "
            f"(None will do); got {answer!r:.200}"
        )
    return tokens
