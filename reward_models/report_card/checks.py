"""Measurements against limits: one verdict a check, and in words what was measured."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from textrl_env.reward_models.report_card.accuracy import Part
from textrl_env.reward_models.report_card.calibration import Calibration
from textrl_env.reward_models.report_card.ceiling import Ceiling
from textrl_env.reward_models.report_card.ensemble import EnsembleReport
from textrl_env.reward_models.report_card.invariance import Invariance
from textrl_env.reward_models.report_card.limits import Limits
from textrl_env.reward_models.report_card.probes import ProbeLine
from textrl_env.reward_models.report_card.samples import BestOfNCurve
from textrl_env.reward_models.report_card.shallow import Shallow
from textrl_env.stats import Estimate

Outcome = Literal["passed", "failed", "not measured"]
LEAST_PROMPTS = 20
"""A slice of fewer prompts is shown, not judged: its bootstrap interval would mean little."""
LEAST_PAIRS = 30
"""Probes with fewer pairs are shown, not judged."""


@dataclass(frozen=True)
class Measured:
    """Everything that is measured of a reward model; None where that was not possible."""

    accuracy: Part
    ceiling: Ceiling | None
    by_distance: Sequence[Part]
    slices: Mapping[str, Sequence[Part]]
    calibration: Calibration
    invariance: Invariance
    shallow: Shallow
    ensemble: EnsembleReport | None
    best_of_n: BestOfNCurve | None
    probes: Sequence[ProbeLine]


@dataclass(frozen=True)
class Check:
    """A question to the reward model, and the answer."""

    name: str
    option: str
    """The limit's name in `Limits`."""
    outcome: Outcome
    measured: str
    """In words."""
    leads_to: str
    """What goes wrong in training where it fails."""
    value: float | None = None
    limit: float | None = None
    sure: bool = True
    """Whether the interval of the value lies on one side of the limit."""


def checks(measured: Measured, limits: Limits) -> Iterator[Check]:
    """All checks, in the order of the report."""
    yield _accuracy(measured, limits.accuracy)
    yield _slices(measured, limits.slice_accuracy)
    yield _calibration(measured.calibration, limits.calibration)
    yield _invariance(measured.invariance, limits.invariance)
    yield _tilt(measured.shallow, limits.tilt)
    yield _substance(measured.shallow, limits.substance)
    yield _ensemble(measured.ensemble, limits.disagreement)
    yield _best_of_n(measured.best_of_n, limits.best_of_n)
    yield _far_agreement(measured.probes, limits.far_agreement)


def _outcome(passed: bool) -> Outcome:
    return "passed" if passed else "failed"


def _sure(estimate: Estimate, limit: float) -> bool:
    return not estimate.low <= limit <= estimate.high


def _between(estimate: Estimate) -> str:
    return f"{estimate.value:.1%} ({estimate.low:.1%} to {estimate.high:.1%})"


def _accuracy(measured: Measured, limit: float) -> Check:
    found, ceiling = measured.accuracy.accuracy, measured.ceiling
    text = f"{_between(found)} of {measured.accuracy.n_pairs} held-out pairs"
    above_coin = found.low > 0.5
    if ceiling is None or ceiling.value <= 0.5:
        share = found
        passed, at = above_coin or limit == 0, 0.5
        text += "; the raters' ceiling is not known, a coin has 50%"
    else:
        share = Estimate(*((value - 0.5) / (ceiling.value - 0.5) for value in (found.value, found.low, found.high)))
        passed, at = limit == 0 or (share.value >= limit and above_coin), limit
        text += f"; {share.value:.0%} of the way from a coin to the raters' ceiling of {ceiling.value:.1%}"
    return Check(
        "accuracy", "accuracy", _outcome(passed), text,
        "the policy is paid for what people did not ask for; more or cleaner preferences are the usual remedy",
        share.value, at, _sure(share, at),
    )  # fmt: skip


def _slices(measured: Measured, limit: float) -> Check:
    name, leads_to = "slices", "a part of the prompts is trained in the wrong direction"
    parts = [
        (f"{column} = {part.name}", part) for column, found in measured.slices.items() for part in found
        if part.n_prompts >= LEAST_PROMPTS
    ]  # fmt: skip
    if not parts:
        reason = f"no slice of {LEAST_PROMPTS} prompts or more" if measured.slices else "no slices; name columns"
        return Check(name, "slice_accuracy", "not measured", reason, leads_to)
    worst, part = min(parts, key=lambda entry: entry[1].accuracy.value)
    text = f"worst of {len(parts)}: {worst}, {_between(part.accuracy)}"
    return Check(
        name, "slice_accuracy", _outcome(part.accuracy.high >= limit), text, leads_to, part.accuracy.value, limit,
        _sure(part.accuracy, limit),
    )  # fmt: skip


def _calibration(found: Calibration, limit: float) -> Check:
    allowed = max(limit, found.ece_by_chance)
    size = found.temperature
    if math.isinf(size):
        told = "no scale helps"
    elif abs(size - 1) < 0.05:
        told = "the scores have the right scale"
    else:
        told = f"scores are {size:.2g} times too large" if size > 1 else f"scores are {1 / size:.2g} times too small"
    text = f"ECE {found.ece:.3f}, of which chance alone explains up to {found.ece_by_chance:.3f}; {told}"
    return Check(
        "calibration", "calibration", _outcome(found.ece <= allowed), text,
        "the KL coefficient means something else than it says; divide the scores by the temperature",
        found.ece, allowed,
    )  # fmt: skip


def _invariance(found: Invariance, limit: float) -> Check:
    changes = {"batch": found.batch, "order": found.order, "padding": found.padding, "repetition": found.repeat}
    most = max(changes, key=lambda name: changes[name])
    text = f"scores change by {found.largest:.1e} standard deviations at most" + (
        f", by {most}" if found.largest else ""
    )
    return Check(
        "invariance", "invariance", _outcome(found.largest <= limit), text,
        "a completion is paid for its neighbours in the batch; textrl doctor finds the usual faults",
        found.largest, limit,
    )  # fmt: skip


def _tilt(found: Shallow, limit: float) -> Check:
    name, leads_to = "tilt", "completions grow longer, or whatever the feature is, without getting better"
    line = found.most_tilted
    if line is None:
        return Check(name, "tilt", "not measured", "all texts have equal features", leads_to)
    tilt = line.tilt
    text = (
        f"most for {line.name}: it gives the text with more a chance of {line.model:.1%}, people choose it in "
        f"{line.people.value:.1%} of the pairs"
    )
    size = Estimate(abs(tilt.value), *sorted((abs(tilt.low), abs(tilt.high))))
    return Check(name, "tilt", _outcome(size.value <= limit), text, leads_to, size.value, limit, _sure(size, limit))


def _substance(found: Shallow, limit: float) -> Check:
    name, leads_to = "substance", "the policy learns the feature instead of the task"
    share = found.share_left
    if math.isnan(share.value):
        return Check(name, "substance", "not measured", "no accuracy above a coin's to explain", leads_to)
    text = (
        f"{share.value:.0%} ({share.low:.0%} to {share.high:.0%}) of its accuracy above a coin's is left without "
        f"shallow features ({found.accuracy:.1%} falls to {found.left.value:.1%})"
    )
    return Check(
        name, "substance", _outcome(share.value >= limit), text, leads_to, share.value, limit, _sure(share, limit)
    )


def _ensemble(found: EnsembleReport | None, limit: float) -> Check:
    name, leads_to = "disagreement", "conservative scores punish what the model knows and pay what it does not"
    if found is None:
        return Check(name, "disagreement", "not measured", "not an ensemble", leads_to)
    if math.isnan(found.auroc.value):
        return Check(name, "disagreement", "not measured", "no error to find", leads_to)
    first, last = found.parts[0].error.value, found.parts[-1].error.value
    text = (
        f"AUROC {found.auroc.value:.2f} ({found.auroc.low:.2f} to {found.auroc.high:.2f}) of "
        f"{found.n_members} members; errors {first:.0%} where they agree most, {last:.0%} where least"
    )
    return Check(
        name, "disagreement", _outcome(found.auroc.value >= limit), text, leads_to, found.auroc.value, limit,
        _sure(found.auroc, limit),
    )  # fmt: skip


def _best_of_n(found: BestOfNCurve | None, limit: float) -> Check:
    name, leads_to = "best of n", "optimising the score does not buy what it is for"
    if found is None:
        return Check(name, "best_of_n", "not measured", "no policy to sample from", leads_to)
    share, last = found.efficiency, found.points[-1]
    if share is None or last.gold is None or last.gold_best is None:
        return Check(name, "best_of_n", "not measured", "gold is not known", leads_to)
    if math.isnan(share.value):
        return Check(name, "best_of_n", "not measured", "all samples have equal gold", leads_to)
    first = found.points[0].gold
    assert first is not None
    text = (
        f"gold {first.value:.3f} → {last.gold.value:.3f} at n = {last.n}; {share.value:.0%} ({share.low:.0%} to "
        f"{share.high:.0%}) of what choosing by gold gains ({last.gold_best:.3f})"
    )
    return Check(
        name, "best_of_n", _outcome(share.value >= limit), text, leads_to, share.value, limit, _sure(share, limit)
    )


def _far_agreement(probes: Sequence[ProbeLine], limit: float) -> Check:
    name, leads_to = "far from the policy", "the score rises while the texts get worse, once training has moved on"
    known = [line for line in probes if line.agreement is not None and line.n_pairs >= LEAST_PAIRS]
    if not probes:
        return Check(name, "far_agreement", "not measured", "no policy to sample from", leads_to)
    if len(known) < 2:
        return Check(name, "far_agreement", "not measured", "gold is not known", leads_to)
    near, far = (line.agreement for line in (known[0], known[-1]))
    assert near is not None and far is not None
    if near.value <= 0.5:
        return Check(name, "far_agreement", "not measured", "no agreement with gold to lose", leads_to)
    share = Estimate(*((value - 0.5) / (near.value - 0.5) for value in (far.value, far.low, far.high)))
    text = (
        f"at {known[-1].kl:.1f} nats ({known[-1].name}) it tells the texts from the policy's own as gold does in "
        f"{_between(far)} of the pairs; among the policy's own {near.value:.1%}"
    )
    return Check(
        name, "far_agreement", _outcome(share.value >= limit), text, leads_to, share.value, limit, _sure(share, limit)
    )
