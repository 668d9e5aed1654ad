"""Options of stages whose training can be resumed: how often it is saved, and where it goes on."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textrl_env.errors import InputError, require_count

if TYPE_CHECKING:
    from textrl_env.agents import OnPolicyAlgorithm
    from textrl_env.agents.on_policy import SaveCheckpoints
    from textrl_env.training.checkpoints import CheckpointSaver, Experiment


@dataclass(frozen=True)
class CheckpointOptions:
    """Checkpoints of a stage's training, in `checkpoints/` of its folder."""

    resume: str = "never"
    """auto (newest), never, or a folder of one."""
    save_every: int = 10
    """Updates between two checkpoints."""
    keep: int = 2
    """How many checkpoints stay."""

    def __post_init__(self) -> None:
        require_count(1, save_every=self.save_every, keep=self.keep)
        if self.resume not in ("auto", "never") and not os.path.isdir(self.resume):
            raise InputError(f"resume must be auto, never or a checkpoint's folder, got {self.resume!r}")

    def callback(self, stage_folder: Path) -> "SaveCheckpoints":
        """Returns the callback that saves an on-policy algorithm."""
        from textrl_env.agents.on_policy import SaveCheckpoints

        return SaveCheckpoints(stage_folder / "checkpoints", every_updates=self.save_every, keep=self.keep)

    def saver(self, stage_folder: Path) -> "CheckpointSaver":
        """Returns the saver of any other training."""
        from textrl_env.training.checkpoints import CheckpointSaver

        return CheckpointSaver(stage_folder / "checkpoints", every_updates=self.save_every, keep=self.keep)

    def start(self, stage_folder: Path, experiment: "Experiment") -> Path | None:
        """Returns the checkpoint to go on from, if any.

        Raises:
            InputError: it is of another experiment; what differs is named.
        """
        if self.resume == "never":
            return None
        from textrl_env.training.checkpoints import newest_good, require_same_experiment

        path = newest_good(stage_folder / "checkpoints") if self.resume == "auto" else Path(self.resume)
        if path is not None:
            require_same_experiment(path, experiment)
        return path


def resume_algorithm(algorithm: "OnPolicyAlgorithm", checkpoint: Path | None, *, total_updates: int) -> None:
    """Plans a run of `total_updates`, or takes the one up that a checkpoint is of."""
    from textrl_env.agents.on_policy import TrainingPlan

    algorithm.state.plan = TrainingPlan(0, 0, total_updates=total_updates)
    if checkpoint is not None:
        algorithm.load(checkpoint)
