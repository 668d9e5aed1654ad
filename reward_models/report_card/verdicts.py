"""Measurements of a reward model held against limits: one verdict a check, and the measurement in words."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from textrl_env.checks import Check, Effect, Finding, pass_or_fail, run_checks
from textrl_env.reward_models.report_card.accuracy import AccuracyPart, Ceiling
from textrl_env.reward_models.report_card.card_file import CardLimits
from textrl_env.reward_models.report_card.probes import ProbeLine
from textrl_env.reward_models.report_card.samples import BestOfNCurve
from textrl_env.reward_models.report_card.scores import Invariance
from textrl_env.reward_models.report_card.shallow_features import ShallowShare
from textrl_env.reward_models.report_card.uncertainty import Calibration, EnsembleReport
from textrl_env.stats import Estimate

LEAST_PROMPTS = 20
"""A slice of fewer prompts is shown, not judged: its bootstrap interval would mean little."""
LEAST_PAIRS = 30
"""Probes with fewer pairs are shown, not judged."""


@dataclass(frozen=True)
class Measurements:
    """Everything that is measured of a reward model; None where that was not possible."""

    accuracy: AccuracyPart
    ceiling: Ceiling | None
    by_distance: Sequence[AccuracyPart]
    slices: Mapping[str, Sequence[AccuracyPart]]
    calibration: Calibration
    invariance: Invariance
    shallow: ShallowShare
    ensemble: EnsembleReport | None
    best_of_n: BestOfNCurve | None
    probes: Sequence[ProbeLine]


def judge_measurements(measurements: Measurements, limits: CardLimits) -> dict[str, Finding]:
    """Runs all checks in the order of the report.

    Returns:
        verdicts: by the name of the limit in `CardLimits`.
    """
    checks = [_make_check(option, getattr(limits, option)) for option in CHECKS]
    return dict(zip(CHECKS, run_checks(measurements, checks), strict=True))


def _make_check(option: str, limit: float) -> Check[Measurements]:
    name, judge, consequence = CHECKS[option]
    return Check(name, lambda measurements: judge(measurements, limit), consequence=consequence)


def _lack(reason: str) -> Finding:
    return Finding("not measured", reason)


def _hold(estimate: Estimate, limit: float, message: str, *, passes: bool | None = None) -> Finding:
    """Returns the verdict on an estimate that should reach the limit, unless `passes` says otherwise."""
    outcome = pass_or_fail(estimate.value >= limit if passes is None else passes)
    return Finding(outcome, message, effects=(Effect.of("value", estimate),), limit=limit)


def _describe(estimate: Estimate) -> str:
    return f"{estimate.value:.1%} ({estimate.low:.1%} to {estimate.high:.1%})"


def _judge_accuracy(measurements: Measurements, limit: float) -> Finding:
    """Holds the share of the way from a coin to the raters' ceiling against the limit."""
    estimate, ceiling = measurements.accuracy.accuracy, measurements.ceiling
    text = f"{_describe(estimate)} of {measurements.accuracy.n_pairs} held-out pairs"
    above_coin = estimate.low > 0.5
    if ceiling is None or ceiling.value <= 0.5:
        text += "; the raters' ceiling is not known, a coin has 50%"
        return _hold(estimate, 0.5, text, passes=above_coin or limit == 0)
    ends = estimate.value, estimate.low, estimate.high
    share = Estimate(*((value - 0.5) / (ceiling.value - 0.5) for value in ends))
    text += f"; {share.value:.0%} of the way from a coin to the raters' ceiling of {ceiling.value:.1%}"
    return _hold(share, limit, text, passes=limit == 0 or (share.value >= limit and above_coin))


def _judge_slices(measurements: Measurements, limit: float) -> Finding:
    parts = [
        (f"{column} = {part.name}", part.accuracy)
        for column, column_parts in measurements.slices.items()
        for part in column_parts
        if part.n_prompts >= LEAST_PROMPTS
    ]
    if not parts:
        few = f"no slice of {LEAST_PROMPTS} prompts or more"
        return _lack(few if measurements.slices else "no slices; name columns")
    name, accuracy = min(parts, key=lambda entry: entry[1].value)
    message = f"worst of {len(parts)}: {name}, {_describe(accuracy)}"
    return _hold(accuracy, limit, message, passes=accuracy.high >= limit)


def _judge_calibration(measurements: Measurements, limit: float) -> Finding:
    calibration = measurements.calibration
    bound = max(limit, calibration.ece_by_chance)
    size = calibration.temperature
    if math.isinf(size):
        scale = "no scale helps"
    elif abs(size - 1) < 0.05:
        scale = "the scores have the right scale"
    else:
        scale = f"scores are {size:.2g} times too large" if size > 1 else f"scores are {1 / size:.2g} times too small"
    chance = f"of which chance alone explains up to {calibration.ece_by_chance:.3f}"
    return Finding(
        pass_or_fail(calibration.ece <= bound),
        f"ECE {calibration.ece:.3f}, {chance}; {scale}",
        effects=(Effect("ECE", calibration.ece),),
        limit=bound,
    )


def _judge_invariance(measurements: Measurements, limit: float) -> Finding:
    invariance = measurements.invariance
    changes = {
        "batch": invariance.batch,
        "order": invariance.order,
        "padding": invariance.padding,
        "repetition": invariance.repeat,
    }
    worst = max(changes, key=lambda name: changes[name])
    cause = f", by {worst}" if invariance.largest else ""
    return Finding(
        pass_or_fail(invariance.largest <= limit),
        f"scores change by {invariance.largest:.1e} standard deviations at most{cause}",
        effects=(Effect("largest change", invariance.largest),),
        limit=limit,
    )


def _judge_tilt(measurements: Measurements, limit: float) -> Finding:
    line = measurements.shallow.most_tilted
    if line is None:
        return _lack("all texts have equal features")
    text = (
        f"most for {line.name}: it gives the text with more a chance of {line.model:.1%}, people choose it in "
        f"{line.people.value:.1%} of the pairs"
    )
    size = Estimate(abs(line.tilt.value), *sorted((abs(line.tilt.low), abs(line.tilt.high))))
    return _hold(size, limit, text, passes=size.value <= limit)


def _judge_substance(measurements: Measurements, limit: float) -> Finding:
    shallow = measurements.shallow
    share = shallow.share_left
    if math.isnan(share.value):
        return _lack("no accuracy above a coin's to explain")
    text = (
        f"{share.value:.0%} ({share.low:.0%} to {share.high:.0%}) of its accuracy above a coin's is left without "
        f"shallow features ({shallow.accuracy:.1%} falls to {shallow.left.value:.1%})"
    )
    return _hold(share, limit, text)


def _judge_disagreement(measurements: Measurements, limit: float) -> Finding:
    ensemble = measurements.ensemble
    if ensemble is None:
        return _lack("not an ensemble")
    area = ensemble.auroc
    if math.isnan(area.value):
        return _lack("no error to find")
    first, last = ensemble.parts[0].error.value, ensemble.parts[-1].error.value
    text = (
        f"AUROC {area.value:.2f} ({area.low:.2f} to {area.high:.2f}) of "
        f"{ensemble.n_members} members; errors {first:.0%} where they agree most, {last:.0%} where least"
    )
    return _hold(area, limit, text)


def _judge_best_of_n(measurements: Measurements, limit: float) -> Finding:
    curve = measurements.best_of_n
    if curve is None:
        return _lack("no policy to sample from")
    share, last = curve.efficiency, curve.points[-1]
    if share is None or last.gold is None or last.gold_best is None:
        return _lack("gold is not known")
    if math.isnan(share.value):
        return _lack("all samples have equal gold")
    first = curve.points[0].gold
    assert first is not None
    text = (
        f"gold {first.value:.3f} → {last.gold.value:.3f} at n = {last.n}; {share.value:.0%} ({share.low:.0%} to "
        f"{share.high:.0%}) of what choosing by gold gains ({last.gold_best:.3f})"
    )
    return _hold(share, limit, text)


def _judge_far_agreement(measurements: Measurements, limit: float) -> Finding:
    probes = [line for line in measurements.probes if line.agreement is not None and line.n_pairs >= LEAST_PAIRS]
    if not measurements.probes:
        return _lack("no policy to sample from")
    if len(probes) < 2:
        return _lack("gold is not known")
    near, far = (line.agreement for line in (probes[0], probes[-1]))
    assert near is not None and far is not None
    if near.value <= 0.5:
        return _lack("no agreement with gold to lose")
    share = Estimate(*((value - 0.5) / (near.value - 0.5) for value in (far.value, far.low, far.high)))
    text = (
        f"at {probes[-1].kl:.1f} nats ({probes[-1].name}) it tells the texts from the policy's own as gold does in "
        f"{_describe(far)} of the pairs; among the policy's own {near.value:.1%}"
    )
    return _hold(share, limit, text)


CHECKS: Mapping[str, tuple[str, Callable[[Measurements, float], Finding], str]] = {
    "accuracy": (
        "accuracy",
        _judge_accuracy,
        "the policy is paid for what people did not ask for; more or cleaner preferences are the usual remedy",
    ),
    "slice_accuracy": ("slices", _judge_slices, "a part of the prompts is trained in the wrong direction"),
    "calibration": (
        "calibration",
        _judge_calibration,
        "the KL coefficient means something else than it says; divide the scores by the temperature",
    ),
    "invariance": (
        "invariance",
        _judge_invariance,
        "a completion is paid for its neighbours in the batch; textrl doctor finds the usual faults",
    ),
    "tilt": ("tilt", _judge_tilt, "completions grow longer, or whatever the feature is, without getting better"),
    "substance": ("substance", _judge_substance, "the policy learns the feature instead of the task"),
    "disagreement": (
        "disagreement",
        _judge_disagreement,
        "conservative scores punish what the model knows and pay what it does not",
    ),
    "best_of_n": ("best of n", _judge_best_of_n, "optimising the score does not buy what it is for"),
    "far_agreement": (
        "far from the policy",
        _judge_far_agreement,
        "the score rises while the texts get worse, once training has moved on",
    ),
}
"""By the name of the limit: the check's name, the function that judges, and what a failure leads to."""
