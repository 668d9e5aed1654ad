"""Which device a model belongs on."""

import torch

from textrl_env.errors import InputError
from textrl_env.training import local_index


def as_device(name: str | torch.device) -> torch.device:
    """A device by name; `"auto"` is the GPU where there is one, else the CPU.

    Of a machine's GPUs it is the one of this process, where several were launched, else the first.

    Raises:
        InputError: no such device, or none on this machine.
    """
    gpu = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda", local_index()) if gpu else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"device must be 'auto', 'cpu', 'cuda' or 'cuda:1' and so on, got {name!r}") from None
    if device.type == "cuda" and not gpu:
        raise InputError(f"device={str(name)!r}, but torch sees no GPU here; use device='auto' or 'cpu'")
    return device
