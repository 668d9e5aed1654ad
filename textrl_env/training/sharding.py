"""Models whose parameters lie in shards in several processes (FSDP2), and their whole form.

Forwards of a sharded model gather each layer's parameters when they reach it, so all processes must run the same ones.
A rollout's steps differ from process to process, and a checkpoint's files are those of a whole model: both take a copy
with whole parameters.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


class Skeleton:
    """A model's modules and buffers without its parameters; to be made before the model is sharded.

    Args:
        model: any module.
    """

    def __init__(self, model: nn.Module) -> None:
        without = {id(value): _frozen(torch.empty_like(value, device="meta")) for value in model.parameters()}
        self._modules = copy.deepcopy(model, without)

    def filled(self, sharded: nn.Module, part: str = "") -> Any:
        """A copy of the model that this was made from, or of a part of it, with the whole parameters of `sharded`.

        All processes must call it; parameters need no gradients.
        """
        modules = self._modules.get_submodule(part)
        # A policy acts in inference mode, in which shards cannot be read.
        with torch.inference_mode(False), torch.no_grad():
            shards = sharded.get_submodule(part).state_dict()
            filled = {id(empty): _frozen(whole(shards[name])) for name, empty in modules.named_parameters()}
            return copy.deepcopy(modules, filled)


def whole(tensor: Tensor) -> Tensor:
    """A tensor's whole value, which all processes must ask for; one that is not sharded as it is."""
    if not isinstance(tensor, DTensor):
        return tensor
    value: Tensor = tensor.full_tensor()
    return value.detach()


def sharded_like(value: Tensor, tensor: Tensor) -> Tensor:
    """This process' shard of a whole value that all processes have, where `tensor` is sharded and of its shape."""
    if not isinstance(tensor, DTensor) or value.shape != tensor.shape:
        return value
    here = value.to(tensor.to_local().device)
    return distribute_tensor(here, tensor.device_mesh, tensor.placements, src_data_rank=None)


def _frozen(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value, requires_grad=False)
