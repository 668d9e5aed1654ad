"""The device that a model belongs on, and the precision in which its linear layers run."""

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, get_args

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from textrl_env.errors import InputError
from textrl_env.training.distributed import local_index

Precision = Literal["float32", "bfloat16"]


def as_device(name: str | torch.device) -> torch.device:
    """Finds a device by name; `"auto"` is the GPU where there is one, else the CPU.

    Among a machine's GPUs it is the one of this process, where several were launched, else the first.

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


def checked_precision(precision: Precision) -> Precision:
    """Returns the precision itself; InputError if there is no such one."""
    if precision not in get_args(Precision):
        raise InputError(f"precision must be 'float32' or 'bfloat16', got {precision!r}")
    return precision


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Makes a context in which linear layers round inputs and weights to bfloat16, or in which nothing changes.

    Mixed precision (Micikevicius et al. 2018): parameters, norms, attention on a CPU, and logits stay float32.
    """
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()


def in_float32(device: torch.device) -> AbstractContextManager[object]:
    """Makes a context that leaves any `autocast` around it: 8 bits of a logit of 10 would be 4 % of a probability."""
    # Asked first, because a context costs as much as a small model's layer.
    return torch.autocast(device.type, enabled=False) if torch.is_autocast_enabled(device.type) else nullcontext()


def rounded_copy(model: Any) -> Any:
    """Copies a model with its linear layers, all but the output head, rounded to bfloat16 as autocast would."""
    duplicate = copy.deepcopy(model).requires_grad_(False)
    head = duplicate.get_output_embeddings()
    for module in duplicate.modules():
        if isinstance(module, nn.Linear | Conv1D) and module is not head:
            module.bfloat16()
    return duplicate
