"""How far a judge is to be believed: its agreement with people, by slice, and how much it goes by the place."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textrl_env.errors import InputError
from textrl_env.reward_models.ai_feedback.judge import Judged
from textrl_env.reward_models.feedback.raters import cohen_kappa
from textrl_env.stats import Estimate, bootstrap_estimate, estimate_mean

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Slice:
    """Agreement on the pairs that share a value of a column.

    Attributes:
        column, value: say which pairs; "all" and "" for all of them.
        n: pairs.
        accuracy: share of pairs ordered as people do; a tie on either side counts half.
        kappa: Cohen's, over first, tie and second, where each pair counts in both orders.
    """

    column: str
    value: str
    n: int
    accuracy: Estimate
    kappa: Estimate


@dataclass(frozen=True)
class PositionBias:
    """How much the place decides, over both orders of all pairs with clear answers.

    Attributes:
        n: pairs.
        n_unclear: pairs left out, since one order or both had no clear answer.
        first: mean probability given to the reply that is shown first; 1/2 for a judge that does not mind the place.
        flipped: share of pairs whose winner changes when they are swapped.
    """

    n: int
    n_unclear: int
    first: Estimate
    flipped: Estimate


@dataclass(frozen=True)
class JudgeReport:
    """Everything about a judge; `slices` are empty where there are no people to compare with."""

    judge: str
    bias: PositionBias
    slices: tuple[Slice, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For JSON: NaN is null."""
        plain: dict[str, Any] = _without_nan(asdict(self))
        return plain


def position_bias(judgements: Sequence[Judged], *, rng: np.random.Generator, resamples: int = 1000) -> PositionBias:
    """See `PositionBias`; intervals from the bootstrap over prompts."""
    clear = [each for each in judgements if not np.isnan([each.forward, each.backward]).any()]
    cluster = _numbered([repr(each.question.prompt) for each in clear])
    means = np.array([(each.forward + each.backward) / 2 for each in clear], dtype=np.float64)
    # The same place wins in both orders.
    flipped = np.array([(each.forward - 0.5) * (each.backward - 0.5) > 0 for each in clear], dtype=np.float64)
    first = estimate_mean(means, cluster, rng=rng, resamples=resamples)
    changed = estimate_mean(flipped, cluster, rng=rng, resamples=resamples)
    return PositionBias(len(clear), len(judgements) - len(clear), first, changed)


def agreement_by_slice(
    judge: FloatArray,
    human: FloatArray,
    prompts: Sequence[Any],
    columns: Mapping[str, Sequence[Any]],
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
) -> tuple[Slice, ...]:
    """Agreement on all pairs, then on those of each value of each column.

    Args:
        judge, human: (N,), of each pair > 0 if its first reply is better, 0 for a tie, < 0 if its second is.
        prompts: N, for the bootstrap.
        columns: N values each, by name.
    """
    if not len(human):
        raise InputError("agreement needs one pair at least that people and the judge have compared")
    judge, human, cluster = np.sign(judge), np.sign(human), _numbered([repr(prompt) for prompt in prompts])
    groups = [("all", "", np.arange(len(human)))]
    for name, values in columns.items():
        shown = np.array([str(value) for value in values])
        groups += [(name, value, np.flatnonzero(shown == value)) for value in sorted(set(shown.tolist()))]
    slices = []
    for name, value, at in groups:
        statistics: list[Callable[[IntArray], float]] = [
            lambda drawn, at=at: accuracy(judge[at][drawn], human[at][drawn]),  # type: ignore[misc]
            lambda drawn, at=at: kappa(judge[at][drawn], human[at][drawn]),  # type: ignore[misc]
        ]
        measured = [bootstrap_estimate(each, cluster[at], rng=rng, resamples=resamples) for each in statistics]
        slices.append(Slice(name, value, len(at), *measured))
    return tuple(slices)


def accuracy(judge: FloatArray, human: FloatArray) -> float:
    """Share of pairs with equal signs; where one of the two is 0, a half. (N,), (N,) in {-1, 0, 1}."""
    return float(((1 + judge * human) / 2).mean())


def kappa(judge: FloatArray, human: FloatArray) -> float:
    """Cohen's kappa (`agreement.cohen_kappa`, nominal). (N,), (N,) in {-1, 0, 1}.

    Each pair counts in both orders: which reply a file names first carries no information, and so does not decide what
    agreement by chance is. Without ties kappa is 2 · accuracy - 1.
    """
    cells = np.bincount((3 * (judge + 1) + human + 1).astype(int), minlength=9).reshape(3, 3)
    return cohen_kappa((cells + cells[::-1, ::-1]).astype(np.float64), np.array([-1.0, 0.0, 1.0]), level="nominal")


def _numbered(values: Sequence[str]) -> IntArray:
    """Whole numbers from 0, equal where the values are."""
    return np.asarray(np.unique(np.array(values), return_inverse=True)[1], dtype=np.int64)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and np.isnan(value) else value
