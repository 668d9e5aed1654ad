"""Options of stages whose training can be resumed: how often it is saved, and where it goes on."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textrl_env.errors import InputError, require_count

if TYPE_CHECKING:
    from textrl_env.agents import OnPolicyAlgorithm
    from textrl_env.agents.on_policy import SaveCheckpoints
    from textrl_env.training.checkpoints import CheckpointSaver


@dataclass(frozen=True)
class CheckpointOptions:
    """Checkpoints of a stage's training, in `checkpoints/` of its folder."""

    resume: str = "never"
    """auto (the newest good checkpoint, if any), never, or the folder of one."""
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

    def start(self, stage_folder: Path) -> Path | None:
        """Returns the checkpoint to go on from, if any."""
        from textrl_env.training.checkpoints import newest_good

        if self.resume == "never":
            return None
        return newest_good(stage_folder / "checkpoints") if self.resume == "auto" else Path(self.resume)

    def resume_algorithm(self, algorithm: "OnPolicyAlgorithm", stage_folder: Path, *, total_updates: int) -> None:
        """Plans a run of `total_updates`, or takes one of that length up where a checkpoint left it."""
        from textrl_env.agents.on_policy import TrainingPlan

        algorithm.state.plan = plan = TrainingPlan(0, 0, total_updates=total_updates)
        if (path := self.start(stage_folder)) is None:
            return
        algorithm.load(path)
        if algorithm.state.plan != plan:
            saved_updates = algorithm.state.plan and algorithm.state.plan.total_updates
            raise InputError(
                f"{path} is of a run of {saved_updates} updates, n_updates is {total_updates}; give the same number, "
                "or start anew with --resume never"
            )
