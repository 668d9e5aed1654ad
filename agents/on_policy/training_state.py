"""The state of training, and its way into a checkpoint and back: training goes on bit for bit as if never stopped."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from stable_baselines3.common.callbacks import BaseCallback

from textrl_env.agents.on_policy.learner import Update
from textrl_env.agents.on_policy.log_files import count_lines
from textrl_env.agents.policy import ActorCriticLM
from textrl_env.agents.processes import Processes
from textrl_env.errors import InputError, require_at_least
from textrl_env.mdp import TextGenVectorEnv
from textrl_env.training import checkpoints


@dataclass(frozen=True)
class TrainingPlan:
    """The start of a call of `learn`, and its length in tokens or in updates, one of the two.

    A checkpoint holds it, so that a schedule goes on where a stopped run left it.
    """

    first_timestep: int
    """Tokens trained on before."""
    first_update: int
    """Updates made before."""
    total_timesteps: int | None = None
    """Tokens to train on from there."""
    total_updates: int | None = None
    """Updates to make from there."""

    def __post_init__(self) -> None:
        if (self.total_timesteps is None) == (self.total_updates is None):
            raise InputError("learn() takes total_timesteps or total_updates, one of the two")
        for name, total in {"total_timesteps": self.total_timesteps, "total_updates": self.total_updates}.items():
            if total is not None:
                require_at_least(1, **{f"{name} of learn()": total})

    def progress(self, *, timesteps: int, updates: int) -> float:
        """Returns the share that is behind: 0 at the start, 1 or more at the end."""
        if self.total_updates is not None:
            return (updates - self.first_update) / self.total_updates
        assert self.total_timesteps is not None
        return (timesteps - self.first_timestep) / self.total_timesteps


@dataclass
class TrainingState:
    """The progress of training.

    Attributes:
        num_timesteps: tokens trained on.
        n_updates: updates made.
        plan: of the call of `learn` that runs, or that was stopped.
        update: the one under way, or None between two.
        last_row: the last row of the log, by tag.
        n_lines: of the log's files at the checkpoint that was loaded, by name.
        end_evaluated_at: updates that were made when an end of training was evaluated.
    """

    num_timesteps: int = 0
    n_updates: int = 0
    plan: TrainingPlan | None = None
    update: Update | None = None
    last_row: dict[str, float] = field(default_factory=dict)
    n_lines: dict[str, int] = field(default_factory=dict)
    end_evaluated_at: int = 0

    @property
    def position(self) -> tuple[int, int]:
        """Updates made, and minibatches learnt from in the one under way."""
        return self.n_updates, 0 if self.update is None else self.update.n_done

    @property
    def progress(self) -> float:
        """Share of the plan that is behind."""
        assert self.plan is not None
        return self.plan.progress(timesteps=self.num_timesteps, updates=self.n_updates)


class Resumable(Protocol):
    """An algorithm, as far as a checkpoint holds it."""

    policy: ActorCriticLM
    env: TextGenVectorEnv
    processes: Processes
    generator: torch.Generator
    state: TrainingState
    experiment: checkpoints.Experiment
    log_dir: str | Path | None

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of the policy's parameters."""


def save_training(algorithm: Resumable, path: str | Path, *, pending: dict[str, float]) -> Path:
    """Writes a checkpoint's folder. Running episodes are no part of it: updates start with fresh ones.

    Where several processes train together all of them must call it, and one writes.

    Args:
        algorithm: what is saved.
        path: the folder; see `textrl_env.training.checkpoints.save`.
        pending: the numbers that an update under way has logged, which wait for its row.
    """
    state, processes, update = algorithm.state, algorithm.processes, algorithm.state.update
    numbers = {
        "experiment": checkpoints.as_record(algorithm.experiment),
        "algorithm": type(algorithm).__name__,
        "critic": algorithm.policy.critic_kind,
        "num_timesteps": state.num_timesteps,
        "n_updates": state.n_updates,
        "plan": state.plan and asdict(state.plan),
        "envs": processes.gather_states(algorithm.env.state()),
        "logged": state.last_row,
        "n_lines": count_lines(Path(algorithm.log_dir)) if algorithm.log_dir is not None else {},
        "end_evaluated_at": state.end_evaluated_at,
        "recorded": pending,
        "update": update and update.numbers(),
    }
    sampling = algorithm.policy.generator.get_state()[None].to(algorithm.policy.device)
    generators = {"shuffle": algorithm.generator.get_state(), "sampling": processes.gather(sampling)}
    tensors = {
        "optimizer": checkpoints.optimizer_tensors(algorithm.optimizer),
        "generators": generators,
        **({"update": update.tensors()} if update else {}),
    }
    policy = algorithm.policy.whole()
    processes.by_writer(lambda: checkpoints.save(path, policy.save_pretrained, tensors, numbers))
    return Path(path)


def load_training(algorithm: Resumable, path: str | Path) -> dict[str, float]:
    """Takes everything from a checkpoint's folder; returns the numbers that wait for the next row of the log.

    Raises:
        InputError: no whole checkpoint there, or one of another algorithm, model or number of processes.
    """
    path = Path(path)
    with checkpoints.fitting(path):
        _require_fitting(algorithm, path)
        return _load(algorithm, path)


def _require_fitting(algorithm: Resumable, path: Path) -> None:
    """Raises InputError for what a checkpoint's state says to be of another training, before anything changes."""
    numbers, processes = checkpoints.read_state(path), algorithm.processes
    if (n_saved := len(numbers["envs"])) != processes.count:
        raise InputError(
            f"{path} is of a run of {n_saved} processes, and this one has {processes.count}; launch as many, or start "
            "a new run from its policy/"
        )
    for name, value in {"algorithm": type(algorithm).__name__, "critic": algorithm.policy.critic_kind}.items():
        if (former := numbers.get(name, value)) != value:
            raise InputError(f"{path} is of the {name} {former}, and this is {value}; take the same, or start anew")


def _load(algorithm: Resumable, path: Path) -> dict[str, float]:
    policy, processes = algorithm.policy, algorithm.processes
    tensors, numbers = checkpoints.load(path, policy.load_pretrained, algorithm.optimizer)
    algorithm.env.restore(numbers["envs"][processes.index])
    algorithm.generator.set_state(tensors["generators"]["shuffle"])
    # A clone, because a generator reads a row from where the whole tensor begins.
    policy.generator.set_state(tensors["generators"]["sampling"][processes.index].clone())
    policy.parameters_changed()
    algorithm.state = TrainingState(
        numbers["num_timesteps"],
        numbers["n_updates"],
        plan=TrainingPlan(**numbers["plan"]) if numbers["plan"] else None,
        update=Update.restore(tensors["update"], numbers["update"], policy.device) if numbers["update"] else None,
        last_row=numbers["logged"],
        n_lines=numbers.get("n_lines", {}),
        end_evaluated_at=numbers.get("end_evaluated_at", 0),
    )
    pending: dict[str, float] = numbers["recorded"]
    return pending


class SaveCheckpoints(BaseCallback):
    """Saves checkpoints while training goes on, and one where it is stopped.

    Where several processes train together, all of them have the callback, and one writes.

    The arguments are those of `textrl_env.training.checkpoints.CheckpointSaver`.
    """

    def __init__(self, folder: str | Path, *, every_updates: int = 10, keep: int = 2) -> None:
        super().__init__()
        self.saver = checkpoints.CheckpointSaver(folder, every_updates=every_updates, keep=keep)

    @property
    def _algorithm(self) -> Any:
        return cast(Any, self.model)

    def _init_callback(self) -> None:
        # Before any callback opens the log, which replaces that of an earlier course of the run: without its rows no
        # checkpoint of it may stay.
        self.saver.begin(self._algorithm.position, writes=self._algorithm.processes.writes)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self.saver.after_update(self._algorithm.position, self._algorithm.save)

    def _on_training_end(self) -> None:
        # A checkpoint stands behind the rows that it counts: killed in between, the run makes them once more.
        has_row = self._algorithm.log_rest()
        self.saver.end(self._algorithm.position, self._algorithm.save, again=has_row)
