"""`textrl quickstart`: the whole line on the support desk, from demonstrations to a report."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro
from rich.console import RenderableType

from textrl_env.cli.config_file import RunOptions, as_yaml
from textrl_env.cli.outcomes import describe_comparison
from textrl_env.cli.stages import describe_rehearsal, print_lines
from textrl_env.errors import require_count, require_seed
from textrl_env.pipeline import QuickstartOptions, rehearse_quickstart, run_quickstart
from textrl_env.pipeline.option_paths import OutputFolder


@dataclass(frozen=True)
class Quickstart:
    """Runs all stages on the built-in world in about three minutes; stages have options too, as --ppo.n-updates 20."""

    out: OutputFolder = Path("runs/quickstart")
    """The run's folder; an earlier run's files in it are replaced."""
    seed: int = 0
    """Of everything random: on one machine, equal seeds and threads give equal files."""
    threads: int = 2
    """CPU threads of torch."""
    stages: QuickstartOptions = field(default_factory=QuickstartOptions)
    """Options of the stages."""
    how: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        require_seed(self.seed)
        require_count(1, threads=self.threads)

    def run(self) -> None:
        """Runs all stages, and prints the figures and where everything is, or what was asked for instead."""
        if self.how.print_config:
            print(as_yaml(self), end="")
            return

        import torch

        torch.set_num_threads(self.threads)
        if self.how.dry_run:
            with tempfile.TemporaryDirectory() as folder:
                for name, rehearsal in rehearse_quickstart(self.stages, Path(folder), self.seed):
                    print_lines(f"{name}: {line}" for line in describe_rehearsal(rehearsal))
            return
        print_lines(self._describe(run_quickstart(self.stages, self.out, self.seed)))

    def _describe(self, summary: dict[str, Any]) -> Iterator[RenderableType]:
        yield from describe_comparison(summary)
        accuracy, ceiling = summary["rm_accuracy"], summary["rm_ceiling"]
        yield f"reward model accuracy {accuracy:.3f}, raters' own ceiling {ceiling:.3f}"
        yield f"{summary['seconds']:.0f} s, seed {summary['seed']}"
        places = {
            "report": "report.html",
            "summary": "summary.json",
            "policy": "policy",
            "reward model": "reward_model",
            "TensorBoard": "ppo",
        }
        yield from (f"{name:<14}{self.out / file}" for name, file in places.items())


@dataclass(frozen=True)
class QuickstartHelp(Quickstart):
    """Runs all stages on the built-in world in about three minutes; stages have options too, as --ppo.n-updates 20."""

    # The help does not list all options of all stages once more.
    stages: tyro.conf.Suppress[QuickstartOptions] = field(default_factory=QuickstartOptions)
