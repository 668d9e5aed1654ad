"""The report card: everything measured of a reward model, the verdicts, and both as one JSON-ready mapping."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from textrl_env.checks import Finding, json_ready
from textrl_env.errors import InputError
from textrl_env.reward_models.preferences import Preference
from textrl_env.reward_models.report_card.accuracy import (
    Ceiling,
    estimate_ceiling,
    list_mistakes,
    measure_accuracy,
    measure_by_distance,
    measure_by_slice,
)
from textrl_env.reward_models.report_card.card_file import FORMAT, CardLimits
from textrl_env.reward_models.report_card.probes import Probe, best_of_n_probes, measure_probes
from textrl_env.reward_models.report_card.samples import Samples, list_favourites, measure_best_of_n
from textrl_env.reward_models.report_card.scores import ScoredPairs, Scorer, measure_invariance, score_preferences
from textrl_env.reward_models.report_card.shallow_features import measure_shallow_share
from textrl_env.reward_models.report_card.uncertainty import measure_calibration, measure_ensemble
from textrl_env.reward_models.report_card.verdicts import Measurements, judge_measurements

COLUMNS = {
    "outcome": "outcome",
    "measured": "message",
    "leads_to": "consequence",
    "value": "value",
    "limit": "limit",
    "sure": "sure",
}
"""Keys of a verdict in JSON, and the attributes of `Finding` behind them."""


@dataclass(frozen=True)
class ReportCard:
    """Measurements of a reward model, and the verdicts.

    Attributes:
        measurements: everything.
        verdicts: a finding each, by the name of its limit in `CardLimits`.
        mistakes: pairs it got most confidently wrong.
        favourites: sampled completions it likes best, where gold is known those it likes too well first.
    """

    measurements: Measurements
    verdicts: Mapping[str, Finding]
    mistakes: Sequence[Mapping[str, Any]]
    favourites: Sequence[Mapping[str, Any]]

    @property
    def failed(self) -> list[str]:
        """Names of the failed checks."""
        return [finding.check for finding in self.verdicts.values() if finding.outcome == "failed"]

    def as_dict(self) -> dict[str, Any]:
        """Returns the card as JSON values; a number that is not finite becomes None."""
        measurements = {name: value for name, value in vars(self.measurements).items() if name != "ceiling"}
        ceiling = self.measurements.ceiling
        return {
            "format": FORMAT,
            "passed": not self.failed,
            "checks": [
                {"name": finding.check, "option": option, **finding.as_row(COLUMNS)}
                for option, finding in self.verdicts.items()
            ],
            "ceiling": None if ceiling is None else {"value": ceiling.value, "source": ceiling.source},
            **{name: json_ready(value) for name, value in measurements.items()},
            "mistakes": json_ready(self.mistakes),
            "favourites": json_ready(self.favourites),
        }


def report_card(
    scorer: Scorer,
    preferences: Sequence[Preference],
    *,
    rng: np.random.Generator,
    limits: CardLimits | None = None,
    ceiling: Ceiling | None = None,
    slices: Mapping[str, Sequence[object]] | None = None,
    pool: Samples | None = None,
    probes: Sequence[Probe] = (),
) -> ReportCard:
    """Judges a reward model.

    Args:
        scorer: the reward model; with `member_scores` it is an ensemble.
        preferences: held-out ones.
        rng: of the bootstrap intervals and draws.
        limits: what must be reached; by default `CardLimits()`.
        ceiling: of the raters; by default estimated from pairs that were labelled several times, where there are such.
        slices: by a column's name, its value for every preference.
        pool: samples of the policy that training starts from, for best-of-n; see `score_samples`.
        probes: samples of other policies, with their KL to it; best-of-n from the pool is probed in any case.

    Raises:
        InputError: no preference, or a score that is not finite.
    """
    if not preferences:
        raise InputError("a report card needs at least one held-out preference, got none")
    pairs = score_preferences(scorer, preferences)
    _require_finite(pairs)
    ceiling = ceiling or estimate_ceiling(preferences)
    attainable = None if ceiling is None else ceiling.by_pair
    rows = np.arange(len(pairs.better))
    texts_at = np.unique(np.linspace(0, len(pairs.scores) - 1, 64).astype(int)).tolist()
    texts = [pairs.prompts[at] for at in texts_at], [pairs.completions[at] for at in texts_at]
    # A generator each: no section's figures depend on which others there are.
    streams = iter(rng.spawn(8))
    measurements = Measurements(
        accuracy=measure_accuracy(pairs, rows, "all", attainable=attainable, rng=next(streams)),
        ceiling=ceiling,
        by_distance=measure_by_distance(pairs, attainable=attainable, rng=next(streams)),
        calibration=measure_calibration(pairs, rng=next(streams)),
        invariance=measure_invariance(scorer, *texts, scale=float(pairs.scores.std())),
        shallow=measure_shallow_share(pairs, rng=next(streams)),
        ensemble=measure_ensemble(pairs, rng=next(streams)),
        slices=measure_by_slice(pairs, slices or {}, attainable=attainable, rng=next(streams)),
        best_of_n=None if pool is None else measure_best_of_n(pool, rng=next(streams)),
        probes=(
            []
            if pool is None
            else measure_probes([*best_of_n_probes(pool), *probes], reference=pool, rng=next(streams))
        ),
    )
    return ReportCard(
        measurements,
        judge_measurements(measurements, limits or CardLimits()),
        list_mistakes(pairs),
        [] if pool is None else list_favourites(pool),
    )


def _require_finite(pairs: ScoredPairs) -> None:
    if not np.isfinite(pairs.scores).all():
        bad = int(np.flatnonzero(~np.isfinite(pairs.scores))[0])
        raise InputError(f"the reward model scores {pairs.scores[bad]} on {pairs.completions[bad]!r:.80}")
