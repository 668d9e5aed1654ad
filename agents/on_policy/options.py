"""The options that every on-policy algorithm has."""

from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

from textrl_env.mdp import Estimator
from textrl_env.reference import FrozenReference

Schedule = Callable[[float], float]


class OnPolicyOptions(TypedDict, total=False):
    """Keyword options of `OnPolicyAlgorithm`, and so of every algorithm."""

    learning_rate: float | Schedule
    n_episodes: int
    group_size: int
    batch_size: int | None
    microbatch_size: int | None
    n_epochs: int
    gamma: float
    kl_loss_coef: float
    kl_loss_estimator: Estimator
    reference: FrozenReference | None
    max_grad_norm: float
    adam_eps: float
    log_dir: str | Path | None
    verbose: int
    seed: int
