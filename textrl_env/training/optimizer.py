"""AdamW for parameters of half precision: the steps are taken on float32 copies.

bfloat16 has 8 bits of mantissa, so a step of less than about 1/256 of a weight would be rounded away. With a float32
copy per trained parameter small steps add up, and forward and backward still run in bfloat16.
"""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D


def adamw(
    parameters: Iterable[nn.Parameter], *, lr: float, weight_decay: float = 0.0, eps: float = 1e-8
) -> torch.optim.Optimizer:
    """AdamW over the parameters that need gradients: torch's own, or `MasterAdamW` if some have half precision."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    half = any(parameter.dtype in (torch.bfloat16, torch.float16) for parameter in trained)
    kind: Any = MasterAdamW if half else torch.optim.AdamW
    optimizer: torch.optim.Optimizer = kind(trained, lr=lr, weight_decay=weight_decay, eps=eps)
    return optimizer


def rounded_copy(model: Any) -> Any:
    """A copy whose linear layers, all but the output head, are bfloat16: what autocast would round at every use."""
    copied = copy.deepcopy(model).requires_grad_(False)
    head = copied.get_output_embeddings()
    for module in copied.modules():
        if isinstance(module, nn.Linear | Conv1D) and module is not head:
            module.bfloat16()
    return copied


class MasterAdamW(torch.optim.Optimizer):
    """AdamW (Loshchilov & Hutter 2019, algorithm 2) whose weights and moments are float32, whatever the parameters are.

    m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g²,   w <- w - lr (m̂ / (√v̂ + eps) + weight_decay w)

    The parameter is `w`, rounded to its own type after each step; `w` is in the state, and so in `state_dict()`.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step; a closure is not supported."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, group)

    def _step(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        state, gradient = self.state[parameter], parameter.grad.float()  # type: ignore[union-attr]
        if not state:
            state["step"] = torch.zeros(())
            state["master"] = parameter.detach().float().clone()
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
        state["step"] += 1
        step, (beta1, beta2), lr = float(state["step"]), group["betas"], group["lr"]
        state["exp_avg"].lerp_(gradient, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        scale = (state["exp_avg_sq"] / (1 - beta2**step)).sqrt_().add_(group["eps"])
        state["master"].mul_(1 - lr * group["weight_decay"])
        state["master"].addcdiv_(state["exp_avg"], scale, value=-lr / (1 - beta1**step))
        parameter.copy_(state["master"])

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As in torch, but the state keeps its float32: torch rounds it to the parameter's type."""
        super().load_state_dict(state_dict)
        trained = [parameter for group in self.param_groups for parameter in group["params"]]
        for index, entry in state_dict["state"].items():
            parameter = trained[index]
            for key, value in entry.items():
                self.state[parameter][key] = value.detach().clone().to(parameter.device)
