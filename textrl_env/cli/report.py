"""`textrl report`: one self-contained page of a run, or of its reward model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from textrl_env.cli.report_card.command import RewardModelReport
from textrl_env.cli.summary import write_summary


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
        self.write()
        print(f"the report is {self.run_dir / 'report.html'}, its figures are in {self.run_dir / 'summary.json'}")

    def write(self) -> dict[str, Any]:
        """Writes the files; returns the summary. InputError names the command that is missing."""
        summary = write_summary(self.run_dir)

        from textrl_env.report import write_learning_curve, write_report

        write_learning_curve(self.run_dir, self.run_dir / "learning_curve.png")
        write_report(self.run_dir)
        return summary
