"""Which weights a report card speaks of. Torch-free: it is asked before anything is loaded."""

import hashlib
from pathlib import Path

from textrl_env.errors import InputError


def weights_digest(folder: Path) -> str:
    """SHA-256 of the safetensors files of a model's folder and their names; its checkpoints do not count.

    InputError where there are none.
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
