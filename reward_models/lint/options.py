"""Options of the linter; nothing heavy, so that the command line can show them at once."""

from dataclasses import dataclass

from textrl_env.errors import InputError, require_at_least


@dataclass(frozen=True)
class LintOptions:
    """What the linter is asked."""

    by: str | None = None
    """A column whose values should have about as many labels each."""
    max_chars: int | None = None
    """Where prompt and completion are cut, in characters."""
    similar: float = 0.8
    """Share of common word triples from which texts are near-duplicates, in (0, 1]."""
    examples: int = 3
    """Most examples per finding."""

    def __post_init__(self) -> None:
        require_at_least(1, examples=self.examples)
        if not 0 < self.similar <= 1:
            raise InputError(f"similar must be in (0, 1], got {self.similar}")
        if self.max_chars is not None:
            require_at_least(1, max_chars=self.max_chars)
