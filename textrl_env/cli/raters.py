"""`textrl raters`: how far raters agree, and which of them to believe."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from rich.box import SIMPLE
from rich.console import Console, RenderableType
from rich.table import Table

from textrl_env.data import OnBadRow
from textrl_env.errors import require_count, require_seed
from textrl_env.pipeline.option_paths import InputFile, OutputFile, OutputFolder

if TYPE_CHECKING:
    from textrl_env.reward_models.feedback.raters import RaterReport


@dataclass(frozen=True)
class Raters:
    """Judges raters by their preferences or ratings: agreement, reliability, habits; prints, plots and writes OUT."""

    data: tyro.conf.Positional[InputFile]
    """A database of `textrl label` (.db), or JSONL with annotator, prompt and chosen, rejected (or ranking; tie) or
    completion, rating; created_at."""
    out: OutputFolder = Path("runs/raters")
    """Where raters.json and raters.png go."""
    weighted: OutputFile | None = None
    """A file for the same judgements with a weight by the rater's reliability, for textrl reward-model."""
    shown: int = 20
    """How many raters the table shows, the least reliable first; all of them are in raters.json."""
    on_bad_row: OnBadRow = "error"
    """What a bad row does: stop, or be left out and counted."""
    resamples: int = 1000
    """Draws of the bootstrap."""
    seed: int = 0
    """Decides the draws of the bootstrap and of Crowd-BT."""

    def __post_init__(self) -> None:
        require_count(1, shown=self.shown, resamples=self.resamples)
        require_seed(self.seed)

    def run(self) -> None:
        """Prints the tables and where the files are."""
        import numpy as np

        from textrl_env.reward_models import write_preferences
        from textrl_env.reward_models.feedback.raters import (
            read_judgements,
            report_raters,
            save_rater_report,
            weigh_judgements,
        )

        judgements = read_judgements(self.data, on_bad_row=self.on_bad_row)
        report = report_raters(judgements, rng=np.random.default_rng(require_seed(self.seed)), resamples=self.resamples)
        figures, picture = save_rater_report(report, self.out)
        console = Console(highlight=False)
        for line in render_report(report, self.shown):
            console.print(line, soft_wrap=isinstance(line, str))
        if self.weighted is not None:
            reliability = {line.annotator: line.reliability for line in report.raters}
            write_preferences(self.weighted, weigh_judgements(judgements, reliability))
            console.print(f"the judgements with weights are in {self.weighted}", soft_wrap=True)
        console.print(f"all figures are in {figures}, the plot is {picture}", soft_wrap=True)


def render_report(report: "RaterReport", n_raters: int) -> Iterator[RenderableType]:
    """Renders the report for the terminal, with the `n_raters` least reliable raters."""
    yield (
        f"{report.n_judgements} {report.subject} by {len(report.raters)} raters on {report.n_prompts} prompts, "
        f"{report.overlap:.1f} of each {'text' if report.subject == 'ratings' else 'pair'}"
    )
    agreement = Table("agreement", box=SIMPLE, pad_edge=False)
    for column in ("value", "95% interval"):
        agreement.add_column(column, justify="right")
    for line in report.agreement:
        value, low, high = map(format_number, (line.value, line.low, line.high))
        agreement.add_row(line.name, value, f"{low} to {high}")
    yield agreement
    raters = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    raters.add_column("rater", overflow="fold")
    for column in ("n", "reliability", "kappa", "ties", "longer", "drift"):
        raters.add_column(column, justify="right", no_wrap=True)
    raters.add_column("", no_wrap=True)
    for rater in report.raters[:n_raters]:
        reliability = f"{format_number(rater.reliability)} ({format_number(rater.low)}-{format_number(rater.high)})"
        habits = map(format_number, (rater.kappa, rater.ties, rater.longer, rater.drift))
        raters.add_row(rater.annotator, str(rater.n_judgements), reliability, *habits, rater.verdict)
    yield raters
    verdicts = [rater.verdict for rater in report.raters]
    yield (
        f"{verdicts.count('adversarial')} adversarial, {verdicts.count('careless')} careless; reliability 1 is to be "
        "trusted, 0.5 does not look, 0 says the opposite"
    )


def format_number(value: float) -> str:
    """Formats with two decimals; a dash for NaN."""
    return "-" if math.isnan(value) else f"{round(value, 2) + 0.0:.2f}"  # + 0.0: no minus before a zero
