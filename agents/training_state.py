"""The whole state of an algorithm in a checkpoint, and back: training goes on bit for bit as if it had not stopped."""

from dataclasses import asdict
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

from textrl_env import checkpoint
from textrl_env.agents.plan import Plan
from textrl_env.agents.update import Update

if TYPE_CHECKING:
    from textrl_env.agents.on_policy import OnPolicyAlgorithm


def save(algorithm: "OnPolicyAlgorithm", path: str | Path) -> Path:
    """Writes the folder; see `checkpoint.save`. Running episodes are no part of it: updates start with fresh ones."""
    update = algorithm.update
    state = {
        "num_timesteps": algorithm.num_timesteps,
        "n_updates": algorithm.n_updates,
        "plan": algorithm.plan and asdict(algorithm.plan),
        "env": algorithm.env.state(),
        "logged": algorithm.logged,
        # What an update under way has logged; what callbacks log after the last one is a row of that run alone.
        "recorded": recorded(algorithm) if update else {},
        "update": update and update.numbers(),
    }
    generators = {
        "shuffle": algorithm.generator.get_state(), "sampling": algorithm.policy.generator.get_state()
    }  # fmt: skip
    tensors = {"generators": generators} | ({"update": update.tensors()} if update else {})
    return checkpoint.save(path, algorithm.policy.save_pretrained, algorithm.optimizer, tensors, state)


def load(algorithm: "OnPolicyAlgorithm", path: str | Path) -> None:
    """Takes everything from the folder; see `checkpoint.load`. The log is opened anew where the checkpoint stands."""
    tensors, state = checkpoint.load(path, algorithm.policy.load_pretrained, algorithm.optimizer)
    algorithm.env.restore(state["env"])
    algorithm.generator.set_state(tensors["generators"]["shuffle"])
    algorithm.policy.generator.set_state(tensors["generators"]["sampling"])
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
