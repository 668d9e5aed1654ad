"""`textrl report`: one self-contained page of a run."""

from dataclasses import dataclass
from pathlib import Path

from textrl_env.cli.run_folder import existing


@dataclass(frozen=True)
class Report:
    """Writes RUN/report.html, and the learning curves alone as RUN/learning_curve.png."""

    run_dir: Path = Path("runs/mine")
    """The run's folder, with summary.json and manifest.json of a quickstart."""

    def run(self) -> Path:
        """Returns the page's path."""
        existing(self.run_dir / "summary.json", made_by="textrl quickstart")

        from textrl_env.report import learning_curve, write_report

        learning_curve(self.run_dir, self.run_dir / "learning_curve.png")
        return write_report(self.run_dir)
