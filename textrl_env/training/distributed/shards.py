"""Parameters that lie in shards of several processes (FSDP2).

Forwards of a sharded model gather each layer's parameters when they reach it, so all processes must run the same ones.
A rollout's steps differ from process to process, and a checkpoint's files are those of a whole model: both take a copy
with whole parameters.

Sharding is experimental: it has not yet run on several GPUs.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


class Skeleton:
    """The modules and buffers of a model without its parameters; to be made before the model is sharded.

    Args:
        model: any module.
    """

    def __init__(self, model: nn.Module) -> None:
        stubs = {id(value): _freeze(torch.empty_like(value, device="meta")) for value in model.parameters()}
        self._modules = copy.deepcopy(model, stubs)

    def fill(self, model: nn.Module, part: str = "") -> Any:
        """Copies the model that this was made from, or a part of it, with whole parameters, which need no gradients.

        All processes must call it.

        Args:
            model: the model, its parameters in shards.
            part: name of a submodule; empty for all of it.
        """
        modules = self._modules.get_submodule(part)
        # A policy acts in inference mode, in which shards cannot be read.
        with torch.inference_mode(False), torch.no_grad():
            shards = model.get_submodule(part).state_dict()
            parameters = {id(empty): _freeze(whole(shards[name])) for name, empty in modules.named_parameters()}
            return copy.deepcopy(modules, parameters)


def whole(tensor: Tensor) -> Tensor:
    """Returns the whole value of a tensor, which all processes must ask for; one that is not sharded as it is."""
    if not isinstance(tensor, DTensor):
        return tensor
    value: Tensor = tensor.full_tensor()
    return value.detach()


def sharded_like(value: Tensor, tensor: Tensor) -> Tensor:
    """Returns this process' shard of a whole value, where `tensor` is sharded and of its shape; else the value."""
    if not isinstance(tensor, DTensor) or value.shape != tensor.shape:
        return value
    here = value.to(tensor.to_local().device)
    return distribute_tensor(here, tensor.device_mesh, tensor.placements, src_data_rank=None)


def _freeze(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value, requires_grad=False)
