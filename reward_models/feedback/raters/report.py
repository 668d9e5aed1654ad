"""The report on raters: how far they agree, and how reliable each of them is. Judgements in, plain numbers out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.raters.agreement import (
    FloatArray,
    IntArray,
    Level,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    value_counts,
)
from textrl_env.reward_models.feedback.raters.comparisons import Comparison, Rating
from textrl_env.reward_models.feedback.raters.crowd_bt import fit_crowd_bt
from textrl_env.reward_models.feedback.raters.simulated import word_counts
from textrl_env.reward_models.feedback.raters.votes import Votes, votes_of
from textrl_env.stats import bootstrap_estimate

CARELESS_BELOW = 0.7
"""Reliability of someone who reads four times in ten and otherwise guesses: 0.4 + 0.6 / 2."""
LEVELS: tuple[Level, ...] = ("nominal", "ordinal", "interval")


@dataclass(frozen=True)
class Agreement:
    """A coefficient over all raters, with its bootstrap interval at 95 %."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class RaterLine:
    """One rater. Shares are in [0, 1] and NaN where there is nothing to take them of."""

    annotator: str
    n_judgements: int
    """Comparisons or ratings given."""
    reliability: float
    """Crowd-BT's eta, its posterior mean."""
    low: float
    """Lower end of its interval at 95 %."""
    high: float
    kappa: float
    """Cohen's kappa of the rater's votes and the majority of the others'."""
    ties: float
    """Share of votes that are ties."""
    longer: float
    """How much more often than Crowd-BT expects of a reliable rater the text with more words is preferred: the
    difference of two shares, in [-1, 1]."""
    drift: float
    """Agreement with Crowd-BT in the second half of the rater's work minus that in the first half, in [-1, 1]."""

    @property
    def verdict(self) -> str:
        """ "adversarial" or "careless" where the whole interval says so, else empty."""
        if self.high < 0.5:
            return "adversarial"
        return "careless" if self.high < CARELESS_BELOW else ""


@dataclass(frozen=True)
class RaterReport:
    """Everything `textrl raters` shows."""

    judged: str
    """"comparisons" or "ratings"."""
    n_judgements: int
    n_prompts: int
    overlap: float
    """Mean number of raters per pair of texts, or per rated text."""
    agreement: tuple[Agreement, ...]
    raters: tuple[RaterLine, ...]
    """The least reliable first."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; NaN becomes None."""
        plain = {name: value for name, value in vars(self).items() if name not in ("agreement", "raters")}
        plain["agreement"] = [_no_nan(vars(line)) for line in self.agreement]
        plain["raters"] = [_no_nan(vars(line)) | {"verdict": line.verdict} for line in self.raters]
        return plain


def rater_report(
    judgements: Sequence[Comparison] | Sequence[Rating], *, rng: np.random.Generator, resamples: int = 1000
) -> RaterReport:
    """Agreement of all raters on what they were asked, and every rater against the others, pair by pair.

    Args:
        judgements: of one kind; InputError where no text was judged by two raters.
        rng: of Crowd-BT and the bootstrap over prompts.
        resamples: draws of the bootstrap.
    """
    votes = votes_of(judgements)
    unit, value, cluster = _units(judgements, votes)
    counts, values = value_counts(unit, value)
    if counts.sum(axis=1).max() < 2:
        raise InputError("no text or pair was judged by two raters, so there is nothing to hold them against")
    agreement = [
        _agreement(f"Krippendorff's alpha, {level}", partial(_alpha, counts, values, level), cluster, rng, resamples)
        for level in LEVELS
    ]
    if len(np.unique(counts.sum(axis=1))) == 1:
        agreement.append(_agreement("Fleiss's kappa", lambda rows: fleiss_kappa(counts[rows]), cluster, rng, resamples))
    given = dict.fromkeys(votes.raters, 0)
    for judgement in judgements:
        given[judgement.annotator] += 1
    return RaterReport(
        judged="ratings" if isinstance(judgements[0], Rating) else "comparisons",
        n_judgements=len(judgements),
        n_prompts=len({judgement.prompt for judgement in judgements}),
        overlap=len(value) / len(counts),
        agreement=tuple(agreement),
        raters=_lines(votes, given, rng),
    )


def _units(judgements: Sequence[Comparison] | Sequence[Rating], votes: Votes) -> tuple[IntArray, FloatArray, IntArray]:
    """What was judged and how, (N,) and (N,): ratings of texts, else votes on pairs. And the prompt of each unit."""
    ratings = [judgement for judgement in judgements if isinstance(judgement, Rating)]
    if not ratings:
        _, at = np.unique(votes.pair, return_index=True)
        return votes.pair, votes.vote, votes.prompt_of_item[votes.first[at]]
    index = {item: number for number, item in enumerate(votes.items)}
    unit = np.array([index[rating.prompt, rating.completion] for rating in ratings])
    return unit, np.array([rating.value for rating in ratings]), votes.prompt_of_item


def _alpha(counts: FloatArray, values: FloatArray, level: Level, rows: IntArray) -> float:
    return krippendorff_alpha(counts[rows], values, level=level)


def _agreement(name: str, statistic: Any, cluster: IntArray, rng: np.random.Generator, resamples: int) -> Agreement:
    estimate = bootstrap_estimate(statistic, cluster, rng=rng, resamples=resamples)
    return Agreement(name, estimate.value, estimate.low, estimate.high)


def _lines(votes: Votes, given: dict[str, int], rng: np.random.Generator) -> tuple[RaterLine, ...]:
    fit = fit_crowd_bt(votes, rng=rng)
    low, high = fit.interval()
    # How far a vote for the first item is expected of someone reliable, in [-1, 1].
    expected = 2 * fit.preference(votes.first, votes.second) - 1
    total = np.bincount(votes.pair, votes.vote)[votes.pair]
    has_others = np.bincount(votes.pair)[votes.pair] > 1
    words = word_counts([text for _, text in votes.items])
    first_is_longer = np.sign(words[votes.first] - words[votes.second])
    order = np.argsort(votes.rater, kind="stable")
    lines = []
    for own in np.split(order, np.flatnonzero(np.diff(votes.rater[order])) + 1):
        index, vote, late, held = int(votes.rater[own[0]]), votes.vote[own], votes.progress[own] >= 0.5, has_others[own]
        agrees = (1 + vote * expected[own]) / 2
        uneven = first_is_longer[own] != 0
        towards_longer = first_is_longer[own] * (vote - expected[own]) / 2
        lines.append(
            RaterLine(
                annotator=votes.raters[index],
                n_judgements=given[votes.raters[index]],
                reliability=float(fit.reliability[:, index].mean()),
                low=float(low[index]),
                high=float(high[index]),
                kappa=_kappa(vote[held], np.sign(total[own] - vote)[held]),
                ties=float((vote == 0).mean()),
                longer=_mean(towards_longer[uneven]),
                drift=_mean(agrees[late]) - _mean(agrees[~late]),
            )
        )
    return tuple(sorted(lines, key=lambda line: line.reliability))


def _kappa(vote: FloatArray, others: FloatArray) -> float:
    sides = np.array([-1.0, 0.0, 1.0])
    cells = np.bincount((3 * (vote + 1) + others + 1).astype(np.int64), minlength=9).reshape(3, 3)
    return cohen_kappa(cells.astype(np.float64), sides, level="nominal")


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _no_nan(values: dict[str, Any]) -> dict[str, Any]:
    return {name: None if value != value else value for name, value in values.items()}
