"""A rollout of all processes: each gathers its part, and every one of them holds the whole."""

from collections.abc import Callable

from textrl_env.agents.policy import ActorCriticLM
from textrl_env.agents.processes import Processes
from textrl_env.agents.rollout import Rollout, collect
from textrl_env.mdp import TextGenVectorEnv


def gather(
    env: TextGenVectorEnv,
    policy: ActorCriticLM,
    n_episodes: int,
    *,
    group_size: int,
    go_on: Callable[[], bool],
    processes: Processes,
) -> Rollout | None:
    """`n_episodes` in all, on the policy's device, paid with the KL coefficient that was in force at the start.

    None, and nothing drawn, where `go_on` said stop in one of the processes; the others finish their part first.
    """
    before, sampling = env.state(), policy.generator.get_state()
    # A controller is to see the KL of all episodes, not of one process' or of those that end first.
    with env.kl_coef_held():
        mine = collect(env, policy, n_episodes // processes.count, group_size=group_size, on_step=go_on)
    stopped = processes.any(mine is None)
    if mine is not None and not stopped:
        rollout = processes.joined(mine.to(policy.device))
        env.control_kl(kl=float(rollout.kl.mean()), episodes=len(rollout))
        return rollout
    env.restore(before)
    policy.generator.set_state(sampling)
    policy.parameters_changed()
    return None
