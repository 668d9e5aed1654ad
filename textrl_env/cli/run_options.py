"""Options that every stage's command has besides its own."""

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class RunOptions:
    """Where options come from, and whether to do the work."""

    config: Path | None = None
    """YAML with options; the command line wins over it."""
    print_config: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print the options in effect as YAML, and end."""
    dry_run: tyro.conf.FlagCreatePairsOff[bool] = False
    """Try it tiny, estimate memory and time, and end."""
