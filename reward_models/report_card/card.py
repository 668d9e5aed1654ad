"""The report card: everything measured, judged, and as one JSON-ready mapping."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

import numpy as np

from textrl_env.errors import InputError
from textrl_env.reward_models.preferences import Preference
from textrl_env.reward_models.report_card.accuracy import accuracy_by_distance, accuracy_by_slice, accuracy_of
from textrl_env.reward_models.report_card.calibration import measure_calibration
from textrl_env.reward_models.report_card.ceiling import Ceiling, ceiling_from_repeats
from textrl_env.reward_models.report_card.checks import Check, Measured, checks
from textrl_env.reward_models.report_card.ensemble import measure_ensemble
from textrl_env.reward_models.report_card.examples import favourites, mistakes
from textrl_env.reward_models.report_card.invariance import measure_invariance
from textrl_env.reward_models.report_card.limits import Limits
from textrl_env.reward_models.report_card.probes import Probe, best_of_n_probes, measure_probes
from textrl_env.reward_models.report_card.samples import Samples, best_of_n_curve
from textrl_env.reward_models.report_card.scored import Scorer, score_preferences
from textrl_env.reward_models.report_card.shallow import measure_shallow

FORMAT = 1
"""Of the JSON; a reader refuses others."""


@dataclass(frozen=True)
class ReportCard:
    """What was measured of a reward model, and the verdicts.

    Attributes:
        measured: everything.
        checks: a verdict each.
        mistakes: pairs it got most confidently wrong.
        favourites: sampled completions it likes best, where gold is known those it likes too well first.
    """

    measured: Measured
    checks: tuple[Check, ...]
    mistakes: Sequence[Mapping[str, Any]]
    favourites: Sequence[Mapping[str, Any]]

    @property
    def failed(self) -> list[str]:
        """Names of the failed checks."""
        return [check.name for check in self.checks if check.outcome == "failed"]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; what is not a finite number is None."""
        measured = {name: value for name, value in vars(self.measured).items() if name != "ceiling"}
        ceiling = self.measured.ceiling
        return {
            "format": FORMAT,
            "passed": not self.failed,
            "checks": plain(self.checks),
            "ceiling": None if ceiling is None else {"value": ceiling.value, "source": ceiling.source},
            **{name: plain(value) for name, value in measured.items()},
            "mistakes": plain(self.mistakes),
            "favourites": plain(self.favourites),
        }


def report_card(
    scorer: Scorer,
    preferences: Sequence[Preference],
    *,
    rng: np.random.Generator,
    limits: Limits | None = None,
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
        limits: what must be reached; by default `Limits()`.
        ceiling: of the raters; by default told from pairs that were labelled several times, where there are such.
        slices: by a column's name, its value for every preference.
        pool: samples of the policy that training starts from, for best-of-n; see `score_samples`.
        probes: samples of other policies, with their KL to it; best-of-n from the pool is probed in any case.
    """
    if not preferences:
        raise InputError("a report card needs at least one held-out preference, got none")
    pairs = score_preferences(scorer, preferences)
    if not np.isfinite(pairs.scores).all():
        bad = int(np.flatnonzero(~np.isfinite(pairs.scores))[0])
        raise InputError(f"the reward model scores {pairs.scores[bad]} on {pairs.completions[bad]!r:.80}")
    ceiling = ceiling or ceiling_from_repeats(preferences)
    attainable = None if ceiling is None else ceiling.by_pair
    rows = np.arange(len(pairs.better))
    some = np.unique(np.linspace(0, len(pairs.scores) - 1, 64).astype(int)).tolist()
    # A generator each: no section's figures depend on which others there are.
    streams = iter(rng.spawn(8))
    found = Measured(
        accuracy=accuracy_of(pairs, rows, "all", attainable=attainable, rng=next(streams)),
        ceiling=ceiling,
        by_distance=accuracy_by_distance(pairs, attainable=attainable, rng=next(streams)),
        calibration=measure_calibration(pairs, rng=next(streams)),
        invariance=measure_invariance(
            scorer, [pairs.prompts[at] for at in some], [pairs.completions[at] for at in some],
            scale=float(pairs.scores.std()),
        ),
        shallow=measure_shallow(pairs, rng=next(streams)),
        ensemble=measure_ensemble(pairs, rng=next(streams)),
        slices=accuracy_by_slice(pairs, slices or {}, attainable=attainable, rng=next(streams)),
        best_of_n=None if pool is None else best_of_n_curve(pool, rng=next(streams)),
        probes=[] if pool is None else measure_probes(
            [*best_of_n_probes(pool), *probes], reference=pool, rng=next(streams)
        ),
    )  # fmt: skip
    return ReportCard(
        found,
        tuple(checks(found, limits or Limits())),
        mistakes(pairs),
        [] if pool is None else favourites(pool),
    )


def plain(value: Any) -> Any:
    """Dataclasses and arrays as JSON values; a number that is not finite is None."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
