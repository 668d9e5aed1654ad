"""`textrl quickstart`: the whole line on the support desk, from demonstrations to a report."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from textrl_env.cli.config_file import as_yaml
from textrl_env.cli.dry_run import dry_run
from textrl_env.cli.evaluate import Evaluate, comparison
from textrl_env.cli.ppo import TrainPPO
from textrl_env.cli.preferences import CollectPreferences
from textrl_env.cli.report import Report
from textrl_env.cli.reward_model import TrainRewardModel
from textrl_env.cli.run_options import RunOptions
from textrl_env.cli.sft import TrainSFT
from textrl_env.cli.stage import Stage, perform


@dataclass(frozen=True)
class Quickstart:
    """SFT, preferences, reward model, PPO, evaluation and report on the built-in world.

    With the default options it takes about three minutes on two CPU cores.
    """

    out: Path = Path("runs/quickstart")
    """The run's folder; an earlier run's files in it are replaced."""
    seed: int = 0
    """Of everything random: on one machine, equal seeds and threads give equal files."""
    threads: int = 2
    """CPU threads of torch."""
    sft: TrainSFT = field(default_factory=TrainSFT)
    """Options of the first stage."""
    preferences: CollectPreferences = field(default_factory=CollectPreferences)
    """Options of the second stage."""
    reward_model: TrainRewardModel = field(default_factory=TrainRewardModel)
    """Options of the third stage."""
    ppo: TrainPPO = field(default_factory=TrainPPO)
    """Options of the fourth stage."""
    evaluation: Evaluate = field(default_factory=Evaluate)
    """Options of the fifth stage."""
    how: Annotated[RunOptions, tyro.conf.arg(name="", help="")] = field(default_factory=RunOptions)

    def run(self) -> None:
        """Runs all stages, writes summary.json and report.html, and prints the figures and where everything is."""
        if self.how.print_config:
            print(as_yaml(self), end="")
            return

        import torch

        torch.set_num_threads(self.threads)
        if self.how.dry_run:
            self._dry_run()
            return
        stages: tuple[Stage, ...] = (self.sft, self.preferences, self.reward_model, self.ppo, self.evaluation)
        for stage in stages:
            perform(stage, self.out, self.seed)
        summary = Report(self.out).write()
        console = Console()
        for line in comparison(summary):
            console.print(line, soft_wrap=isinstance(line, str), highlight=False)
        accuracy, ceiling = summary["rm_accuracy"], summary["rm_ceiling"]
        console.print(f"reward model accuracy {accuracy:.3f}, raters' own ceiling {ceiling:.3f}", highlight=False)
        console.print(f"{summary['seconds']:.0f} s, seed {summary['seed']}", highlight=False)
        for name, file in (
            ("report", "report.html"),
            ("summary", "summary.json"),
            ("policy", "policy"),
            ("reward model", "reward_model"),
            ("TensorBoard", "ppo"),
        ):
            console.print(f"{name:<14}{self.out / file}", soft_wrap=True, highlight=False)

    def _dry_run(self) -> None:
        """The dry runs of the training stages, each on what the tiny ones before it made."""
        with tempfile.TemporaryDirectory() as folder:
            for stage in (self.sft, self.preferences, self.reward_model, self.ppo):
                for line in dry_run(stage, Path(folder), self.seed):
                    print(f"{stage.folder}: {line}")
                stage.rehearsals()[0].run(Path(folder), self.seed)


@dataclass(frozen=True)
class QuickstartHelp(Quickstart):
    """All stages on the built-in world, in about three minutes; with the stages' own options, as --ppo.n-updates 20."""

    # The help does not list all options of all stages once more.

    sft: tyro.conf.Suppress[TrainSFT] = field(default_factory=TrainSFT)
    preferences: tyro.conf.Suppress[CollectPreferences] = field(default_factory=CollectPreferences)
    reward_model: tyro.conf.Suppress[TrainRewardModel] = field(default_factory=TrainRewardModel)
    ppo: tyro.conf.Suppress[TrainPPO] = field(default_factory=TrainPPO)
    evaluation: tyro.conf.Suppress[Evaluate] = field(default_factory=Evaluate)
