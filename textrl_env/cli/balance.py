"""`textrl balance`: preferences in which small groups of prompts count as much as large ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from textrl_env.data import OnBadRow
from textrl_env.errors import require_at_least, require_seed
from textrl_env.pipeline.option_paths import InputFile, OutputFile


@dataclass(frozen=True)
class Balance:
    """Writes preferences in which small groups of prompts count as much as large ones, for textrl reward-model."""

    data: tyro.conf.Positional[InputFile]
    """JSONL, JSON or CSV with prompt, chosen, rejected (and ranking), and the column to group by."""
    by: str
    """The column that groups rows."""
    out: OutputFile = Path("runs/balanced.jsonl")
    """The file to write; an earlier one is replaced."""
    how: Literal["weights", "sample"] = "weights"
    """A column weight, 1 on average; or rows of small groups several times, and fewer of large ones."""
    cap: float = 10.0
    """Most that a row counts beside one of the largest group; at least 1."""
    on_bad_row: OnBadRow = "error"
    """What a bad row does: stop, or be left out and counted."""
    seed: int = 0
    """Of the sample."""

    def __post_init__(self) -> None:
        require_at_least(1, cap=self.cap)
        require_seed(self.seed)

    def run(self) -> None:
        """Writes the file and prints what is in it."""
        import numpy as np

        from textrl_env.reward_models import preference_rows, write_preferences
        from textrl_env.reward_models.slices import balanced_rows, balancing_weights, slices_of

        file_rows = preference_rows(self.data, on_bad_row=self.on_bad_row)
        rows: list[dict[str, Any]] = [dict(row.values) for row in file_rows]
        before = slices_of(rows, self.by)
        counts = dict(zip(before.names, before.counts.tolist(), strict=True))
        if self.how == "weights":
            weights = balancing_weights(before, cap=self.cap).tolist()
            rows = [{**row, "weight": weight} for row, weight in zip(rows, weights, strict=True)]
            slice_weights = dict(zip(before.index.tolist(), weights, strict=True))
            changes = [f"{name} {slice_weights[number]:.2f}" for number, name in enumerate(before.names)]
        else:
            rows = balanced_rows(rows, before, cap=self.cap, rng=np.random.default_rng(require_seed(self.seed)))
            after = slices_of(rows, self.by)
            new_counts = dict(zip(after.names, after.counts.tolist(), strict=True))
            changes = [f"{name} {n} -> {new_counts.get(name, 0)}" for name, n in counts.items()]
        write_preferences(self.out, rows)
        print(f"{'weights' if self.how == 'weights' else 'rows'} by {self.by}: {', '.join(changes)}")
        print(f"{len(rows)} rows in {self.out}; next: textrl reward-model --preferences {self.out}")
