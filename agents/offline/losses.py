"""The losses of learning a policy from preferences without a reward model, as functions of tensors.

Log-ratios are log π(y|x) - log π_ref(y|x) of whole completions, in nats.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

PreferenceLoss = Literal["sigmoid", "ipo"]


def dpo_loss(chosen: Tensor, rejected: Tensor, probability: Tensor, *, beta: float) -> Tensor:
    """Direct preference optimisation (Rafailov et al. 2023, eq. 7), mean over pairs, in nats per pair.

    h = chosen - rejected;   loss = -p log σ(β h) - (1 - p) log σ(-β h)

    With p = 1 - ε it is the conservative loss for labels that are wrong with probability ε (Mitchell 2023).

    Args:
        chosen, rejected: log-ratios, (M,).
        probability: p, how likely people prefer the chosen one, in [0, 1], (M,).
        beta: score given up per nat of KL, above 0.
    """
    h = beta * (chosen - rejected)
    return -(probability * logsigmoid(h) + (1 - probability) * logsigmoid(-h)).mean()


def ipo_loss(chosen: Tensor, rejected: Tensor, probability: Tensor, *, beta: float) -> Tensor:
    """Identity preference optimisation (Azar et al. 2023, eq. 17), mean over pairs.

    h = chosen - rejected;   loss = p (h - 1 / 2β)² + (1 - p) (h + 1 / 2β)², least at h = (2 p - 1) / 2β

    Where all labels agree the log-ratios stop at 1 / 2β instead of growing without end. Arguments as for `dpo_loss`;
    `beta` is the paper's τ.
    """
    h, target = chosen - rejected, 0.5 / beta
    return (probability * (h - target) ** 2 + (1 - probability) * (h + target) ** 2).mean()


PREFERENCE_LOSSES = {"sigmoid": dpo_loss, "ipo": ipo_loss}


def kto_loss(
    log_ratios: Tensor,
    desirable: Tensor,
    kl: Tensor,
    *,
    beta: float,
    desirable_weight: float,
    undesirable_weight: float,
) -> Tensor:
    """Kahneman-Tversky optimisation (Ethayarajh et al. 2024, eq. 8), mean over completions.

    loss = λ (1 - σ(β (log-ratio - kl))) for a desirable completion, λ (1 - σ(β (kl - log-ratio))) for another

    Args:
        log_ratios, desirable: (B,); `desirable` is True or False.
        kl: z_0, how far the policy is from the reference on completions of other prompts, 0 or more; no gradient.
        beta: how fast gains and losses saturate, above 0.
        desirable_weight, undesirable_weight: λ of either kind.
    """
    gain = beta * (log_ratios - kl.detach())
    value = torch.sigmoid(torch.where(desirable, gain, -gain))
    weights = torch.where(desirable, desirable_weight, undesirable_weight)
    return (weights * (1 - value)).mean()
