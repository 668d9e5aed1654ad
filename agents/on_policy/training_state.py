"""The whole state of an algorithm in a checkpoint, and back: training goes on bit for bit as if it had not stopped."""

from dataclasses import asdict
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

from textrl_env.agents.on_policy.plan import Plan
from textrl_env.agents.on_policy.update import Update
from textrl_env.errors import InputError
from textrl_env.training import checkpoints

if TYPE_CHECKING:
    from textrl_env.agents.on_policy.loop import OnPolicyAlgorithm


def save(algorithm: "OnPolicyAlgorithm", path: str | Path) -> Path:
    """Writes the folder; see `checkpoints.save`. Running episodes are no part of it: updates start with fresh ones.

    Where several processes train together all of them must call it, and one writes.
    """
    update, processes = algorithm.update, algorithm.processes
    state = {
        "num_timesteps": algorithm.num_timesteps,
        "n_updates": algorithm.n_updates,
        "plan": algorithm.plan and asdict(algorithm.plan),
        "envs": processes.states(algorithm.env.state()),
        "logged": algorithm.logged,
        # What an update under way has logged; what callbacks log after the last one is a row of that run alone.
        "recorded": recorded(algorithm) if update else {},
        "update": update and update.numbers(),
    }
    sampling = algorithm.policy.generator.get_state()[None].to(algorithm.policy.device)
    generators = {"shuffle": algorithm.generator.get_state(), "sampling": processes.gathered(sampling)}
    tensors = {
        "optimizer": checkpoints.optimizer_tensors(algorithm.optimizer),
        "generators": generators,
        **({"update": update.tensors()} if update else {}),
    }
    policy = algorithm.policy.whole()
    processes.by_writer(lambda: checkpoints.save(path, policy.save_pretrained, tensors, state))
    return Path(path)


def load(algorithm: "OnPolicyAlgorithm", path: str | Path) -> None:
    """Takes everything from the folder; see `checkpoints.load`. The log is opened anew where the checkpoint stands."""
    processes = algorithm.processes
    tensors, state = checkpoints.load(path, algorithm.policy.load_pretrained, algorithm.optimizer)
    if (saved := len(state["envs"])) != processes.count:
        raise InputError(
            f"{path} is of a run of {saved} processes, and this one has {processes.count}; launch as many, or start a "
            "new run from its policy/"
        )
    algorithm.env.restore(state["envs"][processes.index])
    algorithm.generator.set_state(tensors["generators"]["shuffle"])
    # A clone, because a generator reads a row from where the whole tensor begins.
    algorithm.policy.generator.set_state(tensors["generators"]["sampling"][processes.index].clone())
    algorithm.policy.parameters_changed()
    algorithm.num_timesteps, algorithm.n_updates = state["num_timesteps"], state["n_updates"]
    algorithm.plan = Plan(**state["plan"]) if state["plan"] else None
    algorithm.update = None
    if state["update"]:
        algorithm.update = Update.of(tensors["update"], state["update"], algorithm.policy.device)
        algorithm.rollout = algorithm.update.rollout
    algorithm.logged = state["logged"]
    if opened := algorithm.__dict__.pop("logger", None):
        opened.close()
    for name, value in state["recorded"].items():
        algorithm.logger.record(name, value)


def recorded(algorithm: "OnPolicyAlgorithm") -> dict[str, float]:
    """The numbers that wait for the next line of the log."""
    return {name: float(value) for name, value in algorithm.logger.name_to_value.items() if isinstance(value, Real)}
