"""In what precision a model's linear layers run, while its parameters stay float32."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch

from textrl_env.errors import InputError

Precision = Literal["float32", "bfloat16"]


def checked_precision(precision: Precision) -> Precision:
    """The precision itself; InputError if there is no such one."""
    if precision not in get_args(Precision):
        raise InputError(f"precision must be 'float32' or 'bfloat16', got {precision!r}")
    return precision


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """A context in which linear layers round inputs and weights to bfloat16, or in which nothing changes.

    Mixed precision (Micikevicius et al. 2018): parameters, norms, attention on a CPU, and logits stay float32.
    """
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()


def in_float32(device: torch.device) -> AbstractContextManager[object]:
    """Out of any `autocast` around it: 8 bits of a logit of 10 would be 4 % of a probability."""
    # Asked first, because a context costs as much as a small model's layer.
    return torch.autocast(device.type, enabled=False) if torch.is_autocast_enabled(device.type) else nullcontext()
