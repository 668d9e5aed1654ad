"""Several processes through accelerate's FSDP2, each with a shard of the model.

Experimental: it is tested in processes on CPUs, and has not yet run on several GPUs.
"""

import torch
from torch.distributed.fsdp import CPUOffloadPolicy, register_fsdp_forward_method

from textrl_env.agents.policy import ActorCriticLM
from textrl_env.agents.processes.accelerated import AcceleratedProcesses
from textrl_env.errors import InputError
from textrl_env.lm.adapters import has_adapters
from textrl_env.training.distributed import Skeleton, whole


class ShardedProcesses(AcceleratedProcesses):
    """Processes that hold a shard of every parameter, of its gradient and of Adam's moments each (FSDP2).

    Experimental until it has run on several GPUs.
    """

    def prepare(self, policy: ActorCriticLM, optimizer: torch.optim.Optimizer) -> None:
        """Shards the policy and the optimizer; raises InputError where a setting or the policy does not work so."""
        plugin = self.accelerator.state.fsdp_plugin
        options = {
            "fsdp_activation_checkpointing": plugin.activation_checkpointing,
            "fsdp_cpu_ram_efficient_loading": plugin.cpu_ram_efficient_loading,
            "fsdp_offload_params": isinstance(plugin.cpu_offload, CPUOffloadPolicy),
        }
        for name in (name for name, is_on in options.items() if is_on):
            raise InputError(
                f"{name} in accelerate's configuration does not work here; set it to false (to save memory, "
                "gradient_checkpointing=True on the policy does)"
            )
        if any(parameter.dtype != torch.float32 for parameter in policy.parameters()):
            raise InputError(
                "FSDP2 takes parameters of one type: load the policy in float32; precision='bfloat16' makes it fast"
            )
        if has_adapters(policy.policy):
            raise InputError("adapters are small enough to be whole: use them without FSDP")
        if policy.skeleton is None:
            super().prepare(policy, optimizer)
            policy.skeleton = Skeleton(policy)
        self.accelerator.prepare(policy, optimizer)
        # Algorithms do not call `forward`; these are what they call, and what gathers the parameters outside of layers.
        for method in ("evaluate", "values"):
            register_fsdp_forward_method(policy, method)
        policy.parameters_changed()

    def add_gradients(self, policy: ActorCriticLM) -> None:
        """Makes sums of the means that FSDP leaves."""
        # Backward has left the mean over the processes in each process' shard.
        for parameter in policy.parameters():
            if parameter.grad is not None:
                parameter.grad *= self.count

    def clip_gradients(self, policy: ActorCriticLM, max_norm: float) -> float:
        """Scales the whole gradient down to the norm `max_norm`; returns the norm that it had."""
        return float(whole(self.accelerator.clip_grad_norm_(policy.parameters(), max_norm)))
