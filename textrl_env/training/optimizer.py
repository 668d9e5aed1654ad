"""AdamW, its learning-rate schedule, and the check that a step is finite.

Parameters of half precision are trained by steps on float32 copies: bfloat16 has 8 bits of mantissa, so a step of less
than about 1/256 of a weight would be rounded away. With a float32 copy per parameter small steps add up, and forward
and backward still run in bfloat16.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from textrl_env.errors import InputError


def adamw(
    parameters: Iterable[nn.Parameter], *, lr: float, weight_decay: float = 0.0, eps: float = 1e-8
) -> torch.optim.Optimizer:
    """Makes AdamW over the parameters that need gradients: torch's, or `MasterAdamW` if some have half precision."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    half = any(parameter.dtype in (torch.bfloat16, torch.float16) for parameter in trainable)
    kind: Any = MasterAdamW if half else torch.optim.AdamW
    optimizer: torch.optim.Optimizer = kind(trainable, lr=lr, weight_decay=weight_decay, eps=eps)
    return optimizer


def one_cycle(
    optimizer: torch.optim.Optimizer,
    *,
    peak: float | Sequence[float],
    n_steps: int,
    warmup_fraction: float = 0.1,
    steps_before: int = 0,
) -> torch.optim.lr_scheduler.OneCycleLR:
    """Makes a schedule that rises from peak / 25, then falls on a cosine to almost nothing (Smith & Topin 2018).

    Call `step()` after each of the `n_steps` optimizer steps.

    Args:
        optimizer: its parameter groups follow the schedule.
        peak: highest learning rate, one for all groups or one for each.
        n_steps: optimizer steps in all.
        warmup_fraction: share of `n_steps` over which the rate rises.
        steps_before: optimizer steps that were taken before; a resumed training goes on after them.
    """
    # torch divides by zero where the warm-up has exactly one step; one step more in all keeps clear of the end.
    total, warmup = n_steps + 1, warmup_fraction
    if warmup * total == 1:
        warmup *= 1 + 1e-6
    highest = peak if isinstance(peak, float | int) else list(peak)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=highest, total_steps=total, pct_start=warmup)
    if steps_before:
        schedule.load_state_dict({"last_epoch": steps_before - 1, "_step_count": steps_before + 1})
        schedule.step()
    return schedule


def require_finite(
    loss: float, gradient_norm: float, *, terms: Mapping[str, float], at: str, last_checkpoint: object = None
) -> None:
    """Raises InputError unless loss and gradient are finite; to be called before the optimizer's step.

    Args:
        loss: of the step.
        gradient_norm: of all parameters.
        terms: of the loss and beside it, by name; those that are not finite are named.
        at: the step and the batch, for the message.
        last_checkpoint: the last good one, if any.
    """
    if math.isfinite(loss) and math.isfinite(gradient_norm):
        return
    culprits = [f"{name} {value}" for name, value in terms.items() if name != "loss" and not math.isfinite(value)]
    reason = f" ({', '.join(culprits)})" if culprits else ""
    raise InputError(
        f"the loss is {loss}{reason}, its gradient norm {gradient_norm} at {at}; the parameters are those of before "
        f"this step, and the last checkpoint is {last_checkpoint or 'none'}. Lower learning_rate, or look at this batch"
    )


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
        """Takes a step; a closure is not supported."""
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
        """Loads a state as torch does, but keeps its float32: torch rounds it to the parameter's type."""
        super().load_state_dict(state_dict)
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        for index, entry in state_dict["state"].items():
            parameter = parameters[index]
            for key, value in entry.items():
                self.state[parameter][key] = value.detach().clone().to(parameter.device)
