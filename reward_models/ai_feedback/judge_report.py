"""Report on a judge: its agreement with people, by slice, and how much the place of a reply decides."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textrl_env.data import OnBadRow, Row
from textrl_env.data.rows import read_each
from textrl_env.errors import InputError
from textrl_env.reward_models.ai_feedback.judges import JudgeVerdict
from textrl_env.reward_models.ai_feedback.labels import compute_pair_margin
from textrl_env.reward_models.feedback.raters import cohen_kappa
from textrl_env.reward_models.feedback.store import Item
from textrl_env.reward_models.preferences import Preference, read_preference
from textrl_env.stats import Estimate, bootstrap_estimate, estimate_mean

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class HumanPairs:
    """N pairs of replies that people have compared, and the M rows they stand in.

    Attributes:
        items: N pairs; the reply that comes first in the alphabet is the first, so that the order tells nothing.
        signs: N, 1 where people prefer the first, -1 where they prefer the second, 0 for a tie.
        columns: N values each of the columns that were asked for.
        rows: the file's.
    """

    items: tuple[Item, ...]
    signs: tuple[int, ...]
    columns: dict[str, tuple[Any, ...]]
    rows: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class AgreementSlice:
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
    """Influence of the place, over both orders of all pairs with clear answers.

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
    slices: tuple[AgreementSlice, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Returns the report for JSON: NaN is null."""
        plain: dict[str, Any] = _replace_nan(asdict(self))
        return plain


def read_human_pairs(path: Path, *, columns: Sequence[str] = (), on_bad_row: OnBadRow = "error") -> HumanPairs:
    """Reads people's preferences (columns as of `read_preferences`); a ranking of K gives K (K - 1) / 2 pairs.

    Args:
        path: the file.
        columns: further columns that every row has.
        on_bad_row: "error", or "skip" to leave a bad row out.

    Raises:
        InputError: names the row, and what is wrong there.
    """

    def read(row: Row) -> tuple[Row, Preference]:
        preference = read_preference(row)
        if "prompt" not in row.values:
            raise InputError(f"no column 'prompt' (found: {', '.join(map(repr, row.values))})")
        if missing := [name for name in columns if name not in row.values]:
            raise InputError(f"no column {missing[0]!r} to slice by (found: {', '.join(map(repr, row.values))})")
        return row, preference

    rows = read_each(path, read, column="chosen", on_bad_row=on_bad_row, only_submitted=True)
    items, signs, sources = [], [], []
    for row, preference in rows:
        for (better, worse), p in zip(combinations(preference.ranking, 2), preference.pair_probabilities, strict=True):
            if better == worse:
                continue
            sign = 0 if p == 0.5 else 1 if (p > 0.5) == (better < worse) else -1
            prompt = preference.prompt if isinstance(preference.prompt, str) else list(map(dict, preference.prompt))
            items.append(Item("pair", prompt, (min(better, worse), max(better, worse))))
            signs.append(sign)
            sources.append(row)
    return HumanPairs(
        tuple(items),
        tuple(signs),
        {name: tuple(row.values[name] for row in sources) for name in columns},
        tuple(dict(row.values) for row, _ in rows),
    )


def report_judge(
    judge: str, pairs: Sequence[Sequence[JudgeVerdict]], human: HumanPairs | None, *, rng: np.random.Generator
) -> JudgeReport:
    """Computes position bias over all pairs, and agreement with people on theirs: of the labels and of each principle.

    Args:
        judge: its name.
        pairs: verdicts on each pair, of which people's are the last ones, in their order.
        human: the people's answers; None where there are none.
        rng: for the bootstrap.
    """
    slices: tuple[AgreementSlice, ...] = ()
    if human is not None:
        slices = _slice_agreement(pairs[len(pairs) - len(human.items) :], human, rng)
    return JudgeReport(judge, position_bias(list(chain.from_iterable(pairs)), rng=rng), slices)


def position_bias(verdicts: Sequence[JudgeVerdict], *, rng: np.random.Generator, resamples: int = 1000) -> PositionBias:
    """Computes `PositionBias`; intervals from the bootstrap over prompts."""
    clear = [verdict for verdict in verdicts if not np.isnan([verdict.forward, verdict.backward]).any()]
    cluster = _number_values([repr(verdict.question.prompt) for verdict in clear])
    means = np.array([(verdict.forward + verdict.backward) / 2 for verdict in clear], dtype=np.float64)
    # The same place wins in both orders.
    flips = np.array([(verdict.forward - 0.5) * (verdict.backward - 0.5) > 0 for verdict in clear], dtype=np.float64)
    first = estimate_mean(means, cluster, rng=rng, resamples=resamples)
    flipped = estimate_mean(flips, cluster, rng=rng, resamples=resamples)
    return PositionBias(len(clear), len(verdicts) - len(clear), first, flipped)


def agreement_by_slice(
    judge: FloatArray,
    human: FloatArray,
    prompts: Sequence[Any],
    columns: Mapping[str, Sequence[Any]],
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
) -> tuple[AgreementSlice, ...]:
    """Computes agreement on all pairs, then on those of each value of each column.

    Args:
        judge: (N,), of each pair > 0 if its first reply is better, 0 for a tie, < 0 if its second is.
        human: (N,), the same by people.
        prompts: N, for the bootstrap.
        columns: N values each, by name.
        rng: for the bootstrap.
        resamples: draws of the bootstrap.
    """
    if not len(human):
        raise InputError("agreement needs one pair at least that people and the judge have compared")
    judge, human, cluster = np.sign(judge), np.sign(human), _number_values([repr(prompt) for prompt in prompts])
    groups = [("all", "", np.arange(len(human)))]
    for name, values in columns.items():
        texts = np.array([str(value) for value in values])
        groups += [(name, value, np.flatnonzero(texts == value)) for value in sorted(set(texts.tolist()))]
    slices = []
    for name, value, index in groups:
        statistics: list[Callable[[IntArray], float]] = [
            lambda draw, index=index: accuracy(judge[index][draw], human[index][draw]),  # type: ignore[misc]
            lambda draw, index=index: kappa(judge[index][draw], human[index][draw]),  # type: ignore[misc]
        ]
        figures = [
            bootstrap_estimate(statistic, cluster[index], rng=rng, resamples=resamples) for statistic in statistics
        ]
        slices.append(AgreementSlice(name, value, len(index), *figures))
    return tuple(slices)


def accuracy(judge: FloatArray, human: FloatArray) -> float:
    """Returns the share of pairs with equal signs; where one of the two is 0, a half. (N,), (N,) in {-1, 0, 1}."""
    return float(((1 + judge * human) / 2).mean())


def kappa(judge: FloatArray, human: FloatArray) -> float:
    """Returns Cohen's kappa (`agreement.cohen_kappa`, nominal). (N,), (N,) in {-1, 0, 1}.

    Each pair counts in both orders: which reply a file names first carries no information, and so does not decide what
    agreement by chance is. Without ties kappa is 2 · accuracy - 1.
    """
    cells = np.bincount((3 * (judge + 1) + human + 1).astype(int), minlength=9).reshape(3, 3)
    return cohen_kappa((cells + cells[::-1, ::-1]).astype(np.float64), np.array([-1.0, 0.0, 1.0]), level="nominal")


def _slice_agreement(
    pairs: Sequence[Sequence[JudgeVerdict]], human: HumanPairs, rng: np.random.Generator
) -> tuple[AgreementSlice, ...]:
    """Computes the agreement of the labels, and of each principle by itself."""
    signs, prompts = np.array(human.signs), [item.prompt for item in human.items]
    margins = np.array([compute_pair_margin(pair) for pair in pairs])
    slices = agreement_by_slice(margins, signs, prompts, human.columns, rng=rng)
    owner = np.repeat(np.arange(len(pairs)), [len(pair) for pair in pairs])
    verdicts = [verdict for pair in pairs for verdict in pair]
    principles = {"principle": [verdict.question.principle.id for verdict in verdicts]}
    margins = np.array([verdict.margin for verdict in verdicts])
    _, *by_principle = agreement_by_slice(margins, signs[owner], [prompts[i] for i in owner], principles, rng=rng)
    return (*slices, *by_principle)


def _number_values(values: Sequence[str]) -> IntArray:
    """Returns whole numbers from 0, equal where the values are."""
    return np.asarray(np.unique(np.array(values), return_inverse=True)[1], dtype=np.int64)


def _replace_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _replace_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_nan(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value
