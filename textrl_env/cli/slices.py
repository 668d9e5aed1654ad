"""`textrl slices`: how groups of prompts fare: labels, accuracy and reward."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.box import SIMPLE
from rich.console import Console, RenderableType
from rich.table import Table

from textrl_env.errors import require_at_least
from textrl_env.pipeline.runs import require_model, require_path, write_json

if TYPE_CHECKING:
    from textrl_env.reward_models.slices import SliceTable

PATH = tyro.conf.arg(metavar="PATH", help_behavior_hint="")


@dataclass(frozen=True)
class Slices:
    """Compares groups of prompts by labels, accuracy and reward."""

    by: str
    """The column that groups rows, such as problem, product or harmful."""
    run_dir: Path = Path("runs/mine")
    """The run's folder."""
    preferences: Annotated[Path | None, PATH] = None
    """What the reward model was trained on; by default RUN/preferences/train.jsonl."""
    heldout: Annotated[Path | None, PATH] = None
    """What it is judged by; by default RUN/preferences/heldout.jsonl."""
    reward_model: Annotated[Path | None, PATH] = None
    """The reward model; by default RUN/reward_model, where that is there."""
    resamples: int = 2000
    """Draws of the bootstrap over prompts."""
    seed: int = 0
    """Of the bootstrap."""
    json: Annotated[Path | None, PATH] = None
    """A file for the figures, for machines."""

    def run(self) -> None:
        """Prints a table of the slices, and the largest gap of each figure."""
        require_at_least(2, resamples=self.resamples)
        made_by = f"textrl preferences --run-dir {self.run_dir}"
        train = self.preferences or require_path(self.run_dir / "preferences" / "train.jsonl", made_by=made_by)
        judge = self.run_dir / "reward_model"
        if self.reward_model or judge.exists():
            model_made_by = f"textrl reward-model --run-dir {self.run_dir}"
            judge = require_model(self.reward_model, judge, made_by=model_made_by)

        import numpy as np

        from textrl_env.reward_models import preference_rows, preferences_of
        from textrl_env.reward_models.slices import number_clusters, slice_shares, slices_of

        rng = np.random.default_rng(self.seed)
        rows = [row.values for row in preference_rows(train)]
        prompts = number_clusters([row.get("prompt", "") for row in rows])
        tables = {"labels": slice_shares(slices_of(rows, self.by), prompts, rng=rng, resamples=self.resamples)}
        if judge.exists():
            heldout = self.heldout or require_path(self.run_dir / "preferences" / "heldout.jsonl", made_by=made_by)

            from textrl_env.reward_models import RewardModel
            from textrl_env.reward_models.slices import slice_gaps

            rows = [row.values for row in preference_rows(heldout)]
            gaps = slice_gaps(
                RewardModel.from_pretrained(judge), preferences_of(rows), slices_of(rows, self.by), rng=rng,
                resamples=self.resamples,
            )  # fmt: skip
            tables |= {"accuracy": gaps.accuracy, "reward": gaps.reward}
        console = Console()
        for line in shown(self.by, tables):
            console.print(line, soft_wrap=isinstance(line, str), highlight=False)
        if self.json:
            write_json(self.json, {"by": self.by, **{name: _no_nan(asdict(table)) for name, table in tables.items()}})


def shown(by: str, tables: "dict[str, SliceTable]") -> Iterator[RenderableType]:
    """The figures for the terminal."""
    labels = {line.name: line for line in tables["labels"].lines}
    judged = {name: {line.name: line for line in table.lines} for name, table in tables.items() if name != "labels"}
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(by, overflow="fold", min_width=8)
    for column in ("labels", "share", *judged):
        table.add_column(column, justify="right", no_wrap=True)
    for name in sorted({line.name for each in tables.values() for line in each.lines}):
        line = labels.get(name)
        cells = [str(line.count), f"{line.value:.1%}"] if line else ["0", "-"]
        for of in judged.values():
            found = of.get(name)
            cells.append(_interval(found.value, found.low, found.high) if found else "-")
        table.add_row(name, *cells)
    yield table
    for name, each in tables.items():
        what = {"labels": "share of labels"}.get(name, name)
        if gap := each.gap:
            said = "" if gap.low > 0 else ", which holds 0: chance alone may have made it"
            yield (
                f"largest gap in {what}: {gap.highest} over {gap.lowest} by {gap.value:.3f} "
                f"({gap.low:.3f} to {gap.high:.3f}){said}"
            )
        else:
            yield f"no gap in {what}: fewer than two slices have enough prompts for an interval"


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.2f}" if math.isnan(low) else f"{value:.2f} ({low:.2f} to {high:.2f})"


def _no_nan(values: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(values, dict):
        return {name: _no_nan(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [_no_nan(value) for value in values]
    return None if isinstance(values, float) and math.isnan(values) else values
