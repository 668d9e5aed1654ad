"""Options that every stage's command has besides its own."""

from dataclasses import dataclass

from textrl_env.cli.optional import OptionalPath, Switch


@dataclass(frozen=True)
class RunOptions:
    """Where options come from, and whether to do the work."""

    config: OptionalPath = None
    """YAML with options; the command line wins over it."""
    print_config: Switch = False
    """Print the options in effect as YAML, and end."""
    dry_run: Switch = False
    """Try it tiny, estimate memory and time, and end."""
