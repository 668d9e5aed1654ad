"""KL shaping: the per-token estimators, the controllers of the coefficient, and the options that name them."""

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from textrl_env.errors import InputError, require_above, require_at_least

Floats = npt.NDArray[np.floating]
Estimator = Literal["k1", "k2", "k3"]


def k1(logprob: Floats, ref_logprob: Floats) -> Floats:
    """Computes log π(a) - log π_ref(a), elementwise: unbiased, may be negative.

    Its sum over a completion is log π(y|x) - log π_ref(y|x). Schulman, "Approximating KL divergence" (2020).
    """
    return logprob - ref_logprob


def k2(logprob: Floats, ref_logprob: Floats) -> Floats:
    """Computes (log π(a) - log π_ref(a))² / 2, elementwise: biased, never negative. Same source as `k1`."""
    return 0.5 * (logprob - ref_logprob) ** 2


def k3(logprob: Floats, ref_logprob: Floats) -> Floats:
    """Computes r - 1 - log r with r = π_ref(a) / π(a), elementwise: unbiased, never negative. Same source as `k1`."""
    log_ratio = ref_logprob - logprob
    return np.expm1(log_ratio) - log_ratio


def exact_kl(logprobs: Floats, ref_logprobs: Floats) -> Floats:
    """Computes KL(π(·|s) ‖ π_ref(·|s)) in nats from whole log-distributions: (..., V), (..., V) -> (...).

    Tokens of probability zero under π (log-probability -inf) add nothing.
    """
    possible = np.isfinite(logprobs)
    difference = np.where(possible, logprobs, 0.0) - np.where(possible, ref_logprobs, 0.0)
    kl: Floats = np.where(possible, np.exp(logprobs) * difference, 0.0).sum(axis=-1)
    return kl


ESTIMATORS = {"k1": k1, "k2": k2, "k3": k3}


class KLController(Protocol):
    """Turns the KL of finished episodes into the next coefficient, the only thing it may remember.

    The environment holds that coefficient as `kl_coef`, and an agent's checkpoint restores it.
    """

    def update(self, coef: float, *, kl: float, episodes: int) -> float:
        """Returns the coefficient after `episodes` finished with a mean KL of `kl` nats each."""


@dataclass(frozen=True)
class FixedKL:
    """Leaves the coefficient as it is."""

    def update(self, coef: float, *, kl: float, episodes: int) -> float:
        """Returns `coef`."""
        return coef


@dataclass(frozen=True)
class AdaptiveKL:
    """Steers the KL per episode towards a target (Ziegler et al. 2019, section 2.2).

    e = clip(KL / target - 1, -0.2, 0.2);   coef <- coef · (1 + e · episodes / horizon)
    """

    target: float
    """KL per completion to steer for, in nats; above 0."""
    horizon: float = 10_000
    """Episodes over which a full error changes the coefficient by 20 %; larger is slower."""

    def __post_init__(self) -> None:
        require_above(0, target=self.target, horizon=self.horizon)

    def update(self, coef: float, *, kl: float, episodes: int) -> float:
        """Returns the coefficient after `episodes` finished with a mean KL of `kl` nats each."""
        error = min(max(kl / self.target - 1, -0.2), 0.2)
        return coef * (1 + error * episodes / self.horizon)


@dataclass(frozen=True)
class KLShaping:
    """Options of the KL term, which makes staying near the reference part of the environment's reward.

    | mode        | action                        | reward term of a step                      |
    |-------------|-------------------------------|--------------------------------------------|
    | `reference` | token                         | `coef · log π_ref(a)`                      |
    | `sampled`   | token and its log-probability | `-coef · estimator(logprob, ref_logprob)`  |
    | `exact`     | token and V log-probabilities | `-coef · KL(π(·|s) ‖ π_ref(·|s))`          |

    `reference` serves every algorithm unmodified: together with an entropy bonus of weight `coef` on the algorithm's
    side it is the KL objective.
    """

    coef: float = 0.05
    """Score given up per nat of KL; 0 or more."""
    mode: Literal["reference", "sampled", "exact"] = "reference"
    """What the action carries, and so what the reward term can be; see the table."""
    estimator: Estimator = "k1"
    """Per-token estimator in mode `sampled`."""
    controller: KLController = field(default_factory=FixedKL)
    """Changes the coefficient as episodes finish; `FixedKL()` or `AdaptiveKL(target=…)`."""
    pay: Literal["step", "episode"] = "step"
    """`step`: the reference runs at every step and each step's reward holds its term. `episode`: it scores a whole
    completion when it ends, in one pass; the last step's reward holds the sum and `info["token_rewards"]` the parts."""

    def __post_init__(self) -> None:
        require_at_least(0, **{"coef of KLShaping": self.coef})
        if self.mode not in ("reference", "sampled", "exact"):
            raise InputError(f"KLShaping mode must be 'reference', 'sampled' or 'exact', got {self.mode!r}")
        if self.estimator not in ESTIMATORS:
            raise InputError(f"KLShaping estimator must be one of {', '.join(ESTIMATORS)}, got {self.estimator!r}")
        if self.pay not in ("step", "episode"):
            raise InputError(f"KLShaping pay must be 'step' or 'episode', got {self.pay!r}")
        if self.mode == "reference" and not isinstance(self.controller, FixedKL):
            raise InputError("KLShaping mode 'reference' never learns the policy's KL: pass controller=FixedKL()")
        if self.pay == "episode" and self.mode == "exact":
            raise InputError("KLShaping mode 'exact' is paid every step: pass pay='step'")

    @property
    def term(self) -> str:
        """The name of the reward term."""
        return "reference" if self.mode == "reference" else "kl"

    def pay_tokens(self, ref_logprob: Floats, logprob: Floats | None, *, coef: float) -> Floats:
        """Returns the reward terms of chosen tokens, in the shape of their log-probabilities.

        Args:
            ref_logprob: under the reference, in nats.
            logprob: under the policy, in mode `sampled`; None in mode `reference`.
            coef: the coefficient in force.
        """
        if logprob is None:
            return coef * ref_logprob
        with np.errstate(over="ignore", invalid="ignore"):  # What is not finite is refused by the ledger.
            return -coef * ESTIMATORS[self.estimator](logprob, ref_logprob)
