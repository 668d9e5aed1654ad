"""What a reward model must reach to pass. Torch-free: the command line shows it."""

from dataclasses import dataclass, fields

from textrl_env.errors import InputError


@dataclass(frozen=True)
class Limits:
    """One limit a check; most say: half of what is possible. A limit that nothing can miss switches its check off."""

    accuracy: float = 0.5
    """Least share of the way from a coin's accuracy to the raters' ceiling."""
    slice_accuracy: float = 0.5
    """Least accuracy in a slice; it fails where the whole interval lies below."""
    calibration: float = 0.1
    """Most mean distance between the probability it states and what people choose (ECE)."""
    invariance: float = 1e-4
    """Most change of a score by batch, order and padding, in standard deviations of the scores."""
    tilt: float = 0.1
    """Most pairs it calls for the longer text (or another shallow feature) beyond what people do, as a share."""
    substance: float = 0.5
    """Least share of its accuracy above a coin's that stays once shallow features are taken out of the score."""
    disagreement: float = 0.5
    """Least AUROC of an ensemble's disagreement in finding its errors."""
    best_of_n: float = 0.5
    """Least gold gained by its best of n, as a share of what choosing by gold gains."""
    far_agreement: float = 0.5
    """Least share of its agreement with gold above a coin's that stays for texts farthest from the policy."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < float("inf"):
                raise InputError(f"limit {field.name} must be a number >= 0, got {value}")
