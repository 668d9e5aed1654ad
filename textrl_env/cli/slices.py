"""`textrl slices`: labels, accuracy and reward of groups of prompts beside each other."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import RenderableType
from rich.table import Table

from textrl_env.checks import json_ready
from textrl_env.cli.stages import print_lines
from textrl_env.data import OnBadRow
from textrl_env.errors import require_count, require_seed
from textrl_env.pipeline.option_paths import InputFile, OutputFile
from textrl_env.pipeline.runs import require_model, require_path, write_json

if TYPE_CHECKING:
    from textrl_env.reward_models.slices import SliceTable


@dataclass(frozen=True)
class Slices:
    """Compares groups of prompts by labels, accuracy and reward."""

    by: str
    """The column that groups rows, such as problem, product or harmful."""
    run_dir: Path = Path("runs/mine")
    """The run's folder."""
    preferences: InputFile | None = None
    """What the reward model was trained on; by default RUN/preferences/train.jsonl."""
    heldout: InputFile | None = None
    """What it is judged by; by default RUN/preferences/heldout.jsonl."""
    reward_model: Path | None = None
    """The reward model; by default RUN/reward_model, where that is there."""
    on_bad_row: OnBadRow = "error"
    """What a bad row does: stop, or be left out and counted."""
    resamples: int = 2000
    """Draws of the bootstrap over prompts."""
    seed: int = 0
    """Of the bootstrap."""
    json: OutputFile | None = None
    """A file for the figures, for machines."""

    def __post_init__(self) -> None:
        require_count(2, resamples=self.resamples)
        require_seed(self.seed)

    def run(self) -> None:
        """Prints a table of the slices, and the largest gap of each figure."""
        made_by = f"textrl preferences --run-dir {self.run_dir}"
        train = self.preferences or require_path(self.run_dir / "preferences" / "train.jsonl", made_by=made_by)
        reward_model = self.run_dir / "reward_model"
        if self.reward_model or reward_model.exists():
            model_made_by = f"textrl reward-model --run-dir {self.run_dir}"
            reward_model = require_model(self.reward_model, reward_model, made_by=model_made_by)

        import numpy as np

        from textrl_env.reward_models import preference_rows, preferences_of
        from textrl_env.reward_models.slices import number_clusters, slice_shares, slices_of

        rng = np.random.default_rng(require_seed(self.seed))
        rows = [row.values for row in preference_rows(train, on_bad_row=self.on_bad_row)]
        prompts = number_clusters([row.get("prompt", "") for row in rows])
        tables = {"labels": slice_shares(slices_of(rows, self.by), prompts, rng=rng, resamples=self.resamples)}
        if reward_model.exists():
            heldout = self.heldout or require_path(self.run_dir / "preferences" / "heldout.jsonl", made_by=made_by)

            from textrl_env.reward_models import RewardModel
            from textrl_env.reward_models.slices import slice_gaps

            rows = [row.values for row in preference_rows(heldout, on_bad_row=self.on_bad_row)]
            gaps = slice_gaps(
                RewardModel.from_trained(reward_model),
                preferences_of(rows),
                slices_of(rows, self.by),
                rng=rng,
                resamples=self.resamples,
            )
            tables |= {"accuracy": gaps.accuracy, "reward": gaps.reward}
        print_lines(render_tables(self.by, tables))
        if self.json:
            write_json(self.json, {"by": self.by, **json_ready(tables)})


def render_tables(by: str, tables: "Mapping[str, SliceTable]") -> Iterator[RenderableType]:
    """Yields the figures for the terminal: a table of all slices, and a line a figure on its largest gap.

    Args:
        by: the column that groups rows.
        tables: by name of the figure; "labels" is the share of labels.
    """
    lines_by_name = {title: {line.name: line for line in table.lines} for title, table in tables.items()}
    labels = lines_by_name.pop("labels")
    grid = Table(box=SIMPLE, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column(by, overflow="fold", min_width=8)
    for column in ("labels", "share", *lines_by_name):
        grid.add_column(column, justify="right", no_wrap=True)
    for name in sorted({line.name for table in tables.values() for line in table.lines}):
        label = labels.get(name)
        cells = [str(label.count), f"{label.value:.1%}"] if label else ["0", "-"]
        for lines in lines_by_name.values():
            line = lines.get(name)
            cells.append(_format_interval(line.value, line.low, line.high) if line else "-")
        grid.add_row(name, *cells)
    yield grid
    for title, table in tables.items():
        yield _describe_gap("share of labels" if title == "labels" else title, table)


def _describe_gap(title: str, table: "SliceTable") -> str:
    gap = table.gap
    if gap is None:
        return f"no gap in {title}: fewer than two slices have enough prompts for an interval"
    doubt = "" if gap.low > 0 else ", which holds 0: chance alone may have made it"
    interval = f"({gap.low:.3f} to {gap.high:.3f})"
    return f"largest gap in {title}: {gap.highest} over {gap.lowest} by {gap.value:.3f} {interval}{doubt}"


def _format_interval(value: float, low: float, high: float) -> str:
    return f"{value:.2f}" if math.isnan(low) else f"{value:.2f} ({low:.2f} to {high:.2f})"
