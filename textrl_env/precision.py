"""In what precision a model's linear layers run, while its parameters stay float32."""

from typing import Literal, get_args

import torch

from textrl_env.errors import InputError

Precision = Literal["float32", "bfloat16"]


def checked_precision(precision: Precision) -> Precision:
    """The precision itself; InputError if there is no such one."""
    if precision not in get_args(Precision):
        raise InputError(f"precision must be 'float32' or 'bfloat16', got {precision!r}")
    return precision


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """A context in which linear layers round inputs and weights to bfloat16, or in which nothing changes.

    Mixed precision (Micikevicius et al. 2018): parameters, norms, attention on a CPU, and logits stay float32.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
