"""What a reward model must reach to pass. Torch-free: the command line shows it."""

from dataclasses import dataclass, fields

from textrl_env.errors import InputError


@dataclass(frozen=True)
class Limits:
    """One limit a check; most say: half of what is possible. A limit that nothing can miss switches its check off.

    docs/report_card.md says how each is measured.
    """

    accuracy: float = 0.5
    """Least share of the way to the ceiling."""
    slice_accuracy: float = 0.5
    """Least of a slice, by its interval's upper end."""
    calibration: float = 0.1
    """Most expected calibration error (ECE)."""
    invariance: float = 1e-4
    """Most change by batch or padding."""
    tilt: float = 0.1
    """Most preference for a shallow feature beyond people's, as a share of pairs."""
    substance: float = 0.5
    """Least share of accuracy left without such features."""
    disagreement: float = 0.5
    """Least AUROC in finding errors."""
    best_of_n: float = 0.5
    """Least share of gold that its best of n gains."""
    far_agreement: float = 0.5
    """Least share of agreement left far from the policy."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < float("inf"):
                raise InputError(f"limit {field.name} must be a number >= 0, got {value}")
