"""`check_agent`: an algorithm climbs a ladder of tiny worlds whose best values are known exactly."""

from collections.abc import Callable, Sequence

from gymnasium.vector import AutoresetMode
from rich.console import Console

from textrl_env.agent_checker.ladder import LADDER
from textrl_env.agent_checker.measuring import Agent, measure
from textrl_env.agent_checker.report import Report, RungResult
from textrl_env.agent_checker.rung import KLMode, Rung
from textrl_env.errors import InputError, require_at_least
from textrl_env.mdp import TextGenVectorEnv
from textrl_env.training import progress_bar

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
) -> Report:
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
        num_envs, autoreset_mode, kl_mode: of the environment the agent learns in. In mode "reference" the actions
            are tokens and the KL objective needs an entropy bonus of weight `env.kl_coef` from the agent; in "sampled"
            and "exact" they carry log-probabilities, on every rung.
        n_episodes: to measure an agent on, per rung; at least 1 per prompt.
        verbose: 1 prints the table, 0 prints nothing.

    Returns:
        the report. It does not raise for an agent that falls short: call `report.raise_for_failures()`, or
        `assert report.passed, str(report)` in a test.

    Raises:
        InputError: an impossible option, or what `predict` returned is not actions. Errors of the agent itself are
            passed on; a note says on which rung they came.
    """
    require_at_least(1, n_episodes=n_episodes)
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
    report = Report(tuple(results))
    if verbose:
        Console().print(report.table())
    return report


def _result(rung: Rung, agent: float, margin: float) -> RungResult:
    return RungResult(
        name=rung.name, asks=rung.asks, cause=rung.cause, coef=rung.coef, timesteps=rung.timesteps, n=rung.n,
        random=rung.random, best_of_n=rung.best_of_n, oracle=rung.oracle, mark=rung.mark, agent=agent, margin=margin,
    )  # fmt: skip
