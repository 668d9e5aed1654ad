"""What accelerate was configured for, and whether it works here."""

import os

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType

from textrl_env.agents.processes.accelerated import Accelerated
from textrl_env.agents.processes.sharded import Sharded
from textrl_env.errors import InputError

WHOLE = (DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)
"""Kinds of runs in which every process has the whole model."""


def configured(device: torch.device) -> Accelerated:
    """The processes of `Accelerator()`, which reads what `accelerate launch` or torchrun has set.

    Args:
        device: of the policy.

    Raises:
        InputError: accelerate is configured for something that does not work here, or for another device.
    """
    on_cpu = device.type == "cpu"
    accelerator = Accelerator(cpu=on_cpu)
    if not on_cpu and accelerator.device != device:
        raise InputError(
            f"the policy is on {device}, but this process has {accelerator.device}; load it with device='auto'"
        )
    if accelerator.mixed_precision != "no":
        raise InputError(
            f"mixed_precision: '{accelerator.mixed_precision}' in accelerate's configuration has no effect here; set "
            "it to 'no', and precision='bfloat16' on the policy"
        )
    if accelerator.is_fsdp2:
        return Sharded(accelerator)
    if os.environ.get("ACCELERATE_USE_FSDP") == "true" or accelerator.distributed_type not in WHOLE:
        raise InputError(
            f"accelerate is configured for what does not work here ({accelerator.distributed_type.value} on "
            f"{device.type}): a process has the whole model on any device, or with fsdp_version: 2 a shard of it on a "
            "GPU; see examples/accelerate"
        )
    return Accelerated(accelerator)
