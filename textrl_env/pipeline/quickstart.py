"""The whole line on the support desk, from demonstrations to a report."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textrl_env.files import locked
from textrl_env.pipeline.algorithms import PPOOptions, run_ppo
from textrl_env.pipeline.evaluation import EvaluationOptions, run_evaluation
from textrl_env.pipeline.preferences import PreferencesOptions, run_preferences
from textrl_env.pipeline.rehearsal import Rehearsal, rehearse, shrink
from textrl_env.pipeline.reward_model import RewardModelOptions, run_reward_model
from textrl_env.pipeline.runs import run_stage
from textrl_env.pipeline.sft import SFTOptions, run_sft
from textrl_env.pipeline.summary import write_run_report

RunStage = Callable[[Any, Path, int], dict[str, Any]]


@dataclass(frozen=True)
class QuickstartOptions:
    """Options of all stages."""

    sft: SFTOptions = field(default_factory=SFTOptions)
    """Options of the first stage."""
    preferences: PreferencesOptions = field(default_factory=PreferencesOptions)
    """Options of the second stage."""
    reward_model: RewardModelOptions = field(default_factory=RewardModelOptions)
    """Options of the third stage."""
    ppo: PPOOptions = field(default_factory=PPOOptions)
    """Options of the fourth stage."""
    evaluation: EvaluationOptions = field(default_factory=EvaluationOptions)
    """Options of the fifth stage."""


def run_quickstart(options: QuickstartOptions, run_dir: Path, seed: int = 0) -> dict[str, Any]:
    """Runs SFT, preferences, reward model, PPO and evaluation, and writes the run's report; returns its summary.

    With the default options it takes about three minutes on two CPU cores.
    """
    with locked(run_dir):
        for run, stage in list_stages(options):
            run_stage(run, stage, run_dir, seed)
        return write_run_report(run_dir)


def rehearse_quickstart(options: QuickstartOptions, run_dir: Path, seed: int = 0) -> Iterator[tuple[str, Rehearsal]]:
    """Rehearses the training stages, each on what the tiny ones before it left in `run_dir`; yields name and result."""
    for run, stage in list_stages(options)[:-1]:
        yield stage.folder, rehearse(run, stage, run_dir, seed)
        run(shrink(stage)[0], run_dir, seed)


def list_stages(options: QuickstartOptions) -> list[tuple[RunStage, Any]]:
    """Returns the function and the options of every stage, in order."""
    return [
        (run_sft, options.sft),
        (run_preferences, options.preferences),
        (run_reward_model, options.reward_model),
        (run_ppo, options.ppo),
        (run_evaluation, options.evaluation),
    ]
