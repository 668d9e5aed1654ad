"""The file beside a reward model: its names and format, the limits it was judged by, and the weights it speaks of.

Torch-free: the command line shows the limits, and asks for the weights before anything is loaded.
"""

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path

from textrl_env.errors import InputError, require_at_least

CARD, PAGE = "report_card.json", "report_card.html"
FORMAT = 1
"""Of the JSON; a reader refuses others."""


@dataclass(frozen=True)
class CardLimits:
    """Limits of the checks, one each; most say: half of what is possible.

    A limit that nothing can miss switches its check off. docs/report_card.md says how each is measured.
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
            require_at_least(0, **{field.name: getattr(self, field.name)})


def weights_digest(folder: Path) -> str:
    """Returns the SHA-256 of the safetensors files of a model's folder and their names; checkpoints do not count.

    Raises:
        InputError: there are none.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise InputError(f"{folder}: no weights here (no .safetensors file); expected a reward model's folder")
    total = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.name} {digest}\n".encode())
    return total.hexdigest()
