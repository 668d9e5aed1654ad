"""Joining the processes that were launched as one run, as accelerate was configured for."""

import atexit
import os
from functools import cache
from typing import Any

import torch

from textrl_env.agents.processes.alone import Processes
from textrl_env.errors import InputError
from textrl_env.training.distributed import process_count

WHOLE_MODEL = ("MULTI_CPU", "MULTI_GPU")
"""Values of accelerate's `DistributedType` with which every process has the whole model."""


def join_processes(device: torch.device) -> Processes:
    """Joins the processes that `accelerate launch` or torchrun started this one among; else it is alone.

    Args:
        device: of the policy.

    Raises:
        InputError: accelerate is not installed, or is configured for something that does not work here, or for another
            device.
    """
    if (count := process_count()) == 1:
        return Processes()
    try:
        from accelerate import Accelerator
    except ImportError:
        raise InputError(
            f"{count} processes need the package accelerate: pip install 'textrl-env[accelerate]'"
        ) from None
    from textrl_env.agents.processes.accelerated import AcceleratedProcesses
    from textrl_env.agents.processes.sharded import ShardedProcesses

    accelerator = Accelerator(cpu=device.type == "cpu")
    _leave_at_exit()
    _check_accelerator(accelerator, device)
    if accelerator.is_fsdp2:
        return ShardedProcesses(accelerator)
    if os.environ.get("ACCELERATE_USE_FSDP") == "true" or accelerator.distributed_type not in WHOLE_MODEL:
        raise InputError(
            f"accelerate is configured for what does not work here ({accelerator.distributed_type.value} on "
            f"{device.type}): a process has the whole model on any device, or with fsdp_version: 2 a shard of it on a "
            "GPU; see examples/accelerate"
        )
    return AcceleratedProcesses(accelerator)


@cache
def _leave_at_exit() -> None:
    """Has this process leave the group of processes when it ends.

    torch's threads of the group, if they still run while Python is taken down, now and then abort the process.
    """
    from accelerate.state import PartialState

    atexit.register(lambda: PartialState().destroy_process_group())


def _check_accelerator(accelerator: Any, device: torch.device) -> None:
    """Raises InputError unless the accelerator is for this device, and leaves precision to the policy."""
    if device.type != "cpu" and accelerator.device != device:
        raise InputError(
            f"the policy is on {device}, but this process has {accelerator.device}; load it with device='auto'"
        )
    if accelerator.mixed_precision != "no":
        raise InputError(
            f"mixed_precision: '{accelerator.mixed_precision}' in accelerate's configuration has no effect here; set "
            "it to 'no', and precision='bfloat16' on the policy"
        )
