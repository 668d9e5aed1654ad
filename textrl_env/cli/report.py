"""`textrl report`: one self-contained page of a run; `textrl report rm`: a reward model's card, written beside it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import RenderableType

from textrl_env.checks import Outcome
from textrl_env.cli.finding_tables import verdict_table
from textrl_env.cli.stages import print_lines
from textrl_env.pipeline import write_run_report
from textrl_env.pipeline.option_paths import OutputFolder
from textrl_env.pipeline.report_card import ReportCardFiles, ReportCardOptions, write_report_card

LABELS: Mapping[Outcome, tuple[str, str]] = {
    "passed": ("pass", "green"),
    "failed": ("FAIL", "bold red"),
    "not measured": ("-", "dim"),
}


@dataclass(frozen=True)
class RewardModelReport:
    """Judges a reward model; writes its report_card.html and .json beside it; exit code 1 if a check fails."""

    of: tyro.conf.Positional[Path]
    """A run's folder, or a reward model's."""
    options: Annotated[ReportCardOptions, tyro.conf.arg(name="", help="")] = field(default_factory=ReportCardOptions)

    def run(self) -> None:
        """Prints the verdicts and where the files are; SystemExit(1) if a check failed."""
        files = write_report_card(self.of, self.options)
        print_lines(render_card(files))
        if files.card.failed:
            raise SystemExit(1)


@dataclass(frozen=True)
class Report:
    """Writes RUN/report.html, summary.json, manifest.json and learning_curve.png; `report rm` judges a reward model."""

    run_dir: OutputFolder = Path("runs/mine")
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


def render_card(files: ReportCardFiles) -> Iterator[RenderableType]:
    """Yields a table of the checks, the verdict and where the files are; a failure says what it leads to."""
    card = files.card
    findings = list(card.verdicts.values())
    yield verdict_table(findings, title=f"report card of {files.folder}", labels=LABELS)
    if any(not finding.sure for finding in findings):
        yield "?: the 95% interval reaches across the limit; more held-out preferences or samples would tell"
    n_measured = sum(finding.outcome != "not measured" for finding in findings)
    yield (
        f"FAILED: {', '.join(card.failed)}" if card.failed else f"passed, {n_measured} of {n_measured} checks measured"
    )
    yield f"the report card is {files.page}, its figures are in {files.json}"
