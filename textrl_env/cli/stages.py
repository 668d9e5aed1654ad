"""The stages of the pipeline as subcommands: a table of them, and what running one in a run's folder prints."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console, RenderableType

from textrl_env.cli import outcomes
from textrl_env.cli.ai_feedback import describe_ai_feedback, describe_revision
from textrl_env.cli.config_file import RunOptions, as_yaml
from textrl_env.errors import require_seed
from textrl_env.pipeline import (
    DPOOptions,
    EvaluationOptions,
    PPOOptions,
    PreferencesOptions,
    Rehearsal,
    RewardModelOptions,
    SFTOptions,
    TrainOptions,
    rehearse,
    run_dpo,
    run_evaluation,
    run_ppo,
    run_preferences,
    run_reward_model,
    run_sft,
    run_train,
)
from textrl_env.pipeline.ai_feedback import AIFeedbackOptions, RevisionOptions, run_ai_feedback, run_revision
from textrl_env.pipeline.option_paths import OutputFolder
from textrl_env.pipeline.runs import run_stage
from textrl_env.training.distributed import process_index


@dataclass(frozen=True)
class StageEntry:
    """A stage in the table of commands.

    Attributes:
        options: its dataclass of options; the docstring is the command's help.
        run: the pipeline's function.
        describe: makes lines and tables for the terminal of the options, the run's folder and the metrics.
    """

    options: type
    run: Callable[[Any, Path, int], dict[str, Any]]
    describe: Callable[[Any, Path, dict[str, Any]], Iterable[RenderableType]]


STAGES = {
    "sft": StageEntry(SFTOptions, run_sft, outcomes.describe_sft),
    "preferences": StageEntry(PreferencesOptions, run_preferences, outcomes.describe_preferences),
    "ai-feedback": StageEntry(AIFeedbackOptions, run_ai_feedback, describe_ai_feedback),
    "revise": StageEntry(RevisionOptions, run_revision, describe_revision),
    "reward-model": StageEntry(RewardModelOptions, run_reward_model, outcomes.describe_reward_model),
    "ppo": StageEntry(PPOOptions, run_ppo, outcomes.describe_policy),
    "train": StageEntry(TrainOptions, run_train, outcomes.describe_policy),
    "dpo": StageEntry(DPOOptions, run_dpo, outcomes.describe_dpo),
    "evaluate": StageEntry(EvaluationOptions, run_evaluation, outcomes.describe_evaluation),
}
"""Name on the command line -> stage, in the order of the help."""


@dataclass(frozen=True)
class StageCommand:
    """A stage's options, and the run it belongs to."""

    stage: Annotated[Any, tyro.conf.arg(name="", help="")]
    run_dir: OutputFolder = Path("runs/mine")
    """The run's folder."""
    seed: int = 0
    """Of everything random."""
    how: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        require_seed(self.seed)

    def run(self) -> None:
        """Runs the stage and prints its outcome, or what was asked for instead."""
        if self.how.print_config:
            print(as_yaml(self), end="")
            return
        (entry,) = (entry for entry in STAGES.values() if entry.options is type(self.stage))
        lines: Iterable[RenderableType]
        if self.how.dry_run:
            lines = describe_rehearsal(rehearse(entry.run, self.stage, self.run_dir, self.seed))
        else:
            metrics = run_stage(entry.run, self.stage, self.run_dir, self.seed)
            lines = entry.describe(self.stage, self.run_dir, metrics)
        print_lines(lines)


def print_lines(lines: Iterable[RenderableType]) -> None:
    """Prints lines and tables; of several processes one does so."""
    console = Console(quiet=process_index() > 0)
    for line in lines:
        console.print(line, soft_wrap=isinstance(line, str), highlight=False)


def describe_rehearsal(rehearsal: Rehearsal) -> Iterator[str]:
    """Yields what a dry run measured."""
    yield f"one tiny iteration works ({rehearsal.seconds:.1f} s); the run's folder was only read"
    size = (
        f"{rehearsal.peak_bytes / 1e9:.1f} GB"
        if rehearsal.peak_bytes >= 1e9
        else f"{rehearsal.peak_bytes / 1e6:.0f} MB"
    )
    place = "on the GPU" if rehearsal.on_gpu else "with Python and its libraries"
    yield f"memory: {size} at the peak of that iteration, {place}"
    yield f"time: about {_format_duration(rehearsal.total_seconds)} on this machine as busy as it is now"


def _format_duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
