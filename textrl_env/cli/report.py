"""`textrl report`: one self-contained page of a run, or of its reward model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from textrl_env.cli.report_card import RewardModelReport
from textrl_env.pipeline import write_run_report


@dataclass(frozen=True)
class Report:
    """Writes RUN/report.html, summary.json, manifest.json and learning_curve.png; `report rm` judges a reward model."""

    run_dir: Path = Path("runs/mine")
    """The run's folder; it was evaluated, and PPO was trained in it."""
    what: Annotated[
        Annotated[None, tyro.conf.subcommand("run")] | Annotated[RewardModelReport, tyro.conf.subcommand("rm")],
        tyro.conf.arg(name=""),
    ] = None
    """The run itself, or its reward model."""

    def run(self) -> None:
        """Writes the files and prints where they are."""
        if self.what is not None:
            self.what.run()
            return
        write_run_report(self.run_dir)
        print(f"the report is {self.run_dir / 'report.html'}, its figures are in {self.run_dir / 'summary.json'}")
