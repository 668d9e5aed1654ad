"""How long a call of `learn` trains, so that a schedule goes on where a stopped run left it."""

from dataclasses import dataclass

from textrl_env.errors import InputError


@dataclass(frozen=True)
class Plan:
    """From where training goes, and how far: a number of tokens or a number of updates, one of the two."""

    first_timestep: int
    """Tokens trained on before."""
    first_update: int
    """Updates made before."""
    total_timesteps: int | None = None
    """Tokens to train on from there."""
    total_updates: int | None = None
    """Updates to make from there."""

    def __post_init__(self) -> None:
        if (self.total_timesteps is None) == (self.total_updates is None):
            raise InputError("learn() takes total_timesteps or total_updates, one of the two")
        if (total := self.total_updates or self.total_timesteps or 0) < 1:
            raise InputError(f"learn() takes total_timesteps or total_updates of at least 1, got {total}")

    def progress(self, *, timesteps: int, updates: int) -> float:
        """0 at the start, 1 or more at the end."""
        if self.total_updates is not None:
            return (updates - self.first_update) / self.total_updates
        assert self.total_timesteps is not None
        return (timesteps - self.first_timestep) / self.total_timesteps
