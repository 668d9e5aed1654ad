"""Options of a report card, and the files that it is written to."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from textrl_env.errors import require_count, require_seed
from textrl_env.pipeline.generation import EndTokenOptions
from textrl_env.pipeline.option_paths import InputFile
from textrl_env.reward_models.report_card import CardLimits

if TYPE_CHECKING:
    from textrl_env.reward_models.report_card import ReportCard


@dataclass(frozen=True)
class ReportCardOptions(EndTokenOptions):
    """Options of a report card."""

    preferences: InputFile | None = None
    """Held-out preferences; else those of its training."""
    policy: Path | None = None
    """Causal LM that training starts from; else its sft."""
    policies: tuple[Path, ...] = ()
    """Policies to probe with; else checkpoints."""
    slice_by: tuple[str, ...] = ()
    """Columns whose values are judged one by one."""
    n_prompts: int = 64
    """Prompts to sample on; 0: none."""
    n: int = 64
    """Samples of each; best-of-n up to a quarter."""
    max_new_tokens: int = 49
    """Longest sample, in tokens."""
    seed: int = 0
    """Of samples and intervals."""
    limit: CardLimits = field(default_factory=CardLimits)
    """What must be reached to pass."""

    def __post_init__(self) -> None:
        require_count(0, n_prompts=self.n_prompts)
        require_count(4, n=self.n)
        require_count(1, max_new_tokens=self.max_new_tokens)
        require_seed(self.seed)


@dataclass(frozen=True)
class ReportCardFiles:
    """A report card, the folder of its reward model, and the two files in it."""

    card: "ReportCard"
    folder: Path
    json: Path
    page: Path
