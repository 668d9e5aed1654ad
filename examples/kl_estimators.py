"""The worth of the estimators k1, k2 and k3 of the KL divergence, exactly, on a vocabulary of four tokens.

You will see their means and spreads under the policy, and how far two gradients are from that of the KL: of the
estimator as a loss that is differentiated, and of the estimator as a reward (the policy gradient), which is how the
environment pays it. Everything is an exact sum over the four tokens. Takes about 3 seconds.
"""

from dataclasses import dataclass

import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor

from textrl_env import InputError


@dataclass(frozen=True)
class Args:
    """Options of the example."""

    policy: tuple[float, ...] = (0.5, 0.25, 0.15, 0.1)
    """π, a distribution over tokens."""
    reference: tuple[float, ...] = (0.25, 0.25, 0.25, 0.25)
    """π_ref, as many probabilities, none of them 0."""


def k1(logprob: Tensor, ref_logprob: Tensor) -> Tensor:
    return logprob - ref_logprob


def k2(logprob: Tensor, ref_logprob: Tensor) -> Tensor:
    return (logprob - ref_logprob) ** 2 / 2


def k3(logprob: Tensor, ref_logprob: Tensor) -> Tensor:
    return torch.expm1(ref_logprob - logprob) - (ref_logprob - logprob)


def main(args: Args) -> dict[str, float]:
    """Prints the table and returns its numbers, `NAME_COLUMN` by name of the estimator."""
    for option, values in (("policy", args.policy), ("reference", args.reference)):
        if len(values) != len(args.policy) or min(values) <= 0 or abs(sum(values) - 1) > 1e-6:
            raise InputError(f"{option} must be {len(args.policy)} probabilities above 0 that sum to 1, got {values}")
    ref_logprobs = torch.tensor(args.reference, dtype=torch.float64).log()
    logits = torch.tensor(args.policy, dtype=torch.float64).log().requires_grad_()
    logprobs = torch.log_softmax(logits, dim=0)
    probabilities = logprobs.exp().detach()
    kl = (logprobs.exp() * (logprobs - ref_logprobs)).sum()
    (exact,) = torch.autograd.grad(kl, logits, retain_graph=True)
    columns = ("mean", "standard deviation", "loss gradient off by", "reward gradient off by")
    table = Table("estimator", *columns)
    numbers = {"kl": float(kl.detach())}
    for name, estimator in (("k1", k1), ("k2", k2), ("k3", k3)):
        estimate = estimator(logprobs, ref_logprobs)
        values = estimate.detach()
        mean = (probabilities * values).sum()
        spread = (probabilities * (values - mean) ** 2).sum().sqrt()
        # Tokens are sampled, so their probabilities are not differentiated; the estimator is.
        (as_loss,) = torch.autograd.grad((probabilities * estimate).sum(), logits, retain_graph=True)
        # The policy gradient: the estimator is a number, the log-probability is differentiated.
        (as_reward,) = torch.autograd.grad((probabilities * values * logprobs).sum(), logits, retain_graph=True)
        row = [mean, spread, (as_loss - exact).norm(), (as_reward - exact).norm()]
        numbers |= {f"{name}_{column}": float(value) for column, value in zip(columns, row, strict=True)}
        table.add_row(name, *(f"{float(value):.6f}" for value in row))
    print(f"KL {numbers['kl']:.6f} nats, its gradient's norm {float(exact.norm()):.6f}")
    Console().print(table)
    return numbers


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except InputError as error:
        raise SystemExit(f"kl_estimators: {error}") from None
