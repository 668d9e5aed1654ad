"""The report on raters: how far they agree, and how reliable each of them is."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
    count_values,
    fleiss_kappa,
    krippendorff_alpha,
)
from textrl_env.reward_models.feedback.raters.comparisons import Comparison, Rating
from textrl_env.reward_models.feedback.raters.crowd_bt import fit_crowd_bt
from textrl_env.reward_models.feedback.raters.votes import Votes, tally_votes
from textrl_env.reward_models.feedback.simulated_raters import word_counts
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
    """A rater's figures; shares are in [0, 1], and NaN where there is nothing to take them of."""

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
        """Says "adversarial" or "careless" where the whole interval of the reliability does, else nothing."""
        if self.high < 0.5:
            return "adversarial"
        return "careless" if self.high < CARELESS_BELOW else ""


@dataclass(frozen=True)
class RaterReport:
    """Everything `textrl raters` shows."""

    subject: str
    """"comparisons" or "ratings"."""
    n_judgements: int
    n_prompts: int
    overlap: float
    """Mean number of raters per pair of texts, or per rated text."""
    agreement: tuple[Agreement, ...]
    raters: tuple[RaterLine, ...]
    """The least reliable first."""

    def as_dict(self) -> dict[str, Any]:
        """Returns what JSON can hold; NaN becomes None."""
        return {
            "judged": self.subject,
            "n_judgements": self.n_judgements,
            "n_prompts": self.n_prompts,
            "overlap": self.overlap,
            "agreement": [_without_nan(vars(line)) for line in self.agreement],
            "raters": [_without_nan(vars(line)) | {"verdict": line.verdict} for line in self.raters],
        }


def report_raters(
    judgements: Sequence[Comparison] | Sequence[Rating], *, rng: np.random.Generator, resamples: int = 1000
) -> RaterReport:
    """Measures the agreement of all raters on each question, and holds every rater against the others, pair by pair.

    Args:
        judgements: of one kind; InputError where no text was judged by two raters.
        rng: of Crowd-BT and the bootstrap over prompts.
        resamples: draws of the bootstrap.
    """
    votes = tally_votes(judgements)
    unit, value, prompt = _units(judgements, votes)
    counts, values = count_values(unit, value)
    if counts.sum(axis=1).max() < 2:
        raise InputError("no text or pair was judged by two raters, so there is nothing to hold them against")
    statistics: dict[str, Callable[[IntArray], float]] = {
        f"Krippendorff's alpha, {level}": partial(_alpha, counts, values, level) for level in LEVELS
    }
    if len(np.unique(counts.sum(axis=1))) == 1:
        statistics["Fleiss's kappa"] = lambda rows: fleiss_kappa(counts[rows])
    agreement = []
    for name, statistic in statistics.items():
        estimate = bootstrap_estimate(statistic, prompt, rng=rng, resamples=resamples)
        agreement.append(Agreement(name, estimate.value, estimate.low, estimate.high))
    return RaterReport(
        subject="ratings" if isinstance(judgements[0], Rating) else "comparisons",
        n_judgements=len(judgements),
        n_prompts=len({judgement.prompt for judgement in judgements}),
        overlap=len(value) / len(counts),
        agreement=tuple(agreement),
        raters=_lines(votes, Counter(judgement.annotator for judgement in judgements), rng),
    )


def _units(judgements: Sequence[Comparison] | Sequence[Rating], votes: Votes) -> tuple[IntArray, FloatArray, IntArray]:
    """Units and values of the judgements, (N,) each: ratings of texts, else votes on pairs. And each unit's prompt."""
    ratings = [judgement for judgement in judgements if isinstance(judgement, Rating)]
    if not ratings:
        _, at = np.unique(votes.pair, return_index=True)
        return votes.pair, votes.vote, votes.prompt_of_item[votes.first[at]]
    index = {item: number for number, item in enumerate(votes.items)}
    unit = np.array([index[rating.prompt, rating.completion] for rating in ratings])
    return unit, np.array([rating.value for rating in ratings]), votes.prompt_of_item


def _alpha(counts: FloatArray, values: FloatArray, level: Level, rows: IntArray) -> float:
    return krippendorff_alpha(counts[rows], values, level=level)


def _lines(votes: Votes, n_judgements: Mapping[str, int], rng: np.random.Generator) -> tuple[RaterLine, ...]:
    fit = fit_crowd_bt(votes, rng=rng)
    low, high = fit.interval()
    # How far a vote for the first item would be expected of someone reliable, in [-1, 1].
    reliable_vote = 2 * fit.preference(votes.first, votes.second) - 1
    total = np.bincount(votes.pair, votes.vote)[votes.pair]
    has_others = np.bincount(votes.pair)[votes.pair] > 1
    words = word_counts([text for _, text in votes.items])
    first_is_longer = np.sign(words[votes.first] - words[votes.second])
    order = np.argsort(votes.rater, kind="stable")
    lines = []
    for rows in np.split(order, np.flatnonzero(np.diff(votes.rater[order])) + 1):
        index, vote = int(votes.rater[rows[0]]), votes.vote[rows]
        late, comparable = votes.progress[rows] >= 0.5, has_others[rows]
        agrees = (1 + vote * reliable_vote[rows]) / 2
        uneven = first_is_longer[rows] != 0
        towards_longer = first_is_longer[rows] * (vote - reliable_vote[rows]) / 2
        lines.append(
            RaterLine(
                annotator=votes.raters[index],
                n_judgements=n_judgements[votes.raters[index]],
                reliability=float(fit.reliability[:, index].mean()),
                low=float(low[index]),
                high=float(high[index]),
                kappa=_kappa(vote[comparable], np.sign(total[rows] - vote)[comparable]),
                ties=float((vote == 0).mean()),
                longer=_mean(towards_longer[uneven]),
                drift=_mean(agrees[late]) - _mean(agrees[~late]),
            )
        )
    return tuple(sorted(lines, key=lambda line: line.reliability))


def _kappa(vote: FloatArray, majority: FloatArray) -> float:
    sides = np.array([-1.0, 0.0, 1.0])
    cells = np.bincount((3 * (vote + 1) + majority + 1).astype(np.int64), minlength=9).reshape(3, 3)
    return cohen_kappa(cells.astype(np.float64), sides, level="nominal")


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    return {name: None if value != value else value for name, value in values.items()}
