"""Each planted fault fails its own check and no other; a perfect reward model passes all."""

from typing import Any

import numpy as np
import pytest

from textrl_env import InputError
from textrl_env.reward_models.report_card import (
    CardLimits,
    Ceiling,
    Probe,
    ReportCard,
    Samples,
    report_card,
    score_samples,
)


def card_of(planted: Any, model: Any, *, length_matters: float = 0.0, **options: Any) -> ReportCard:
    preferences = planted.preferences(250, length_matters=length_matters)
    ceiling = Ceiling(planted.best_accuracy(preferences), "known")
    return report_card(model, preferences, rng=np.random.default_rng(0), ceiling=ceiling, **options)


def sampled(planted: Any, model: Any, *, mean: float = 0.0, n: int = 16, seed: int = 1) -> Samples:
    rng = np.random.default_rng(seed)
    prompts = [f"prompt {number}" for number in range(40)]
    texts = [[planted.text(rng, rng.normal(mean), int(rng.integers(2, 20))) for _ in range(n)] for _ in prompts]
    return score_samples(model, prompts, texts, gold=lambda _, all: [planted.truth_of(one) for one in all])


def test_the_truth_passes_every_check(planted: Any) -> None:
    model = planted.Planted(planted.truth_of)
    pool = sampled(planted, model)
    far = Probe("far", "policy", 9.0, sampled(planted, model, mean=3.0, n=4, seed=2))
    slices = {"half": [number % 2 for number in range(250)]}
    card = card_of(planted, model, pool=pool, probes=[far], slices=slices)
    outcomes = {finding.check: finding.outcome for finding in card.verdicts.values()}
    assert card.failed == []
    assert {name for name, outcome in outcomes.items() if outcome == "not measured"} == {"disagreement"}
    assert card.measurements.best_of_n is not None and card.measurements.best_of_n.efficiency is not None
    assert card.measurements.best_of_n.efficiency.value == pytest.approx(1)
    assert card.measurements.probes[-1].name == "far" and card.measurements.probes[-1].proxy > 2


def test_a_random_model_fails_accuracy_only(planted: Any) -> None:
    card = card_of(planted, planted.Planted(lambda text: hash_of(text), scale=0.05))
    assert card.failed == ["accuracy"]


def hash_of(text: str) -> float:
    """A number that has nothing to do with what a text says, the same in every process."""
    return sum(ord(c) * (at % 7 + 1) for at, c in enumerate(text)) % 97 / 97


def test_a_lover_of_length_fails_for_substance_only(planted: Any) -> None:
    """Calibrated, and as accurate as length allows: nothing but the regression finds it out."""
    card = card_of(
        planted,
        planted.Planted(lambda text: float(len(text.split())), scale=0.27),
        length_matters=1.5,
        limits=CardLimits(accuracy=0.3),
    )
    assert card.failed == ["substance"]
    assert card.measurements.shallow.explained > 0.99 and card.measurements.shallow.left.value == 0.5


def test_a_model_that_overrates_length_is_tilted(planted: Any) -> None:
    def both(text: str) -> float:
        return planted.truth_of(text) + 0.12 * len(text.split())

    card = card_of(planted, planted.Planted(both))
    assert card.failed == ["tilt"]
    assert card.measurements.shallow.most_tilted.name in ("words", "characters")  # type: ignore[union-attr]


def test_scores_ten_times_too_large_fail_calibration_only(planted: Any) -> None:
    card = card_of(planted, planted.Planted(planted.truth_of, scale=10 / planted.NOISE))
    assert card.failed == ["calibration"]
    assert card.measurements.calibration.temperature == pytest.approx(10, rel=0.2)


def test_a_model_that_reads_its_neighbours_fails_invariance_only(planted: Any) -> None:
    card = card_of(planted, planted.DependsOnBatch(planted.truth_of))
    assert card.failed == ["invariance"]
    found = card.measurements.invariance
    assert found.batch > 0.01 and found.order == 0 and found.repeat == 0


def test_a_model_that_is_wrong_on_one_kind_of_prompt_fails_slices_only(planted: Any) -> None:
    preferences = planted.preferences(300)
    kinds = ["refund" if number % 6 == 0 else "other" for number in range(300)]
    wrong = {text for row, kind in zip(preferences, kinds, strict=True) if kind == "refund" for text in row.ranking}
    model = planted.Planted(lambda text: -0.4 * planted.truth_of(text) if text in wrong else planted.truth_of(text))
    card = report_card(model, preferences, rng=np.random.default_rng(0), slices={"kind": kinds})
    assert card.failed == ["slices"]
    assert "kind = refund" in card.verdicts["slice_accuracy"].message


def test_a_model_that_pays_for_what_training_finds_fails_far_from_the_policy(planted: Any) -> None:
    """As the truth where it was trained; beyond that it pays for nonsense."""

    def hacked(text: str) -> float:
        value = float(planted.truth_of(text))
        return 10 - value if value < -4 else value

    model = planted.Planted(hacked)
    far = Probe("hacked", "policy", 20.0, sampled(planted, model, mean=-9.0, n=4, seed=2))
    card = card_of(planted, model, pool=sampled(planted, model), probes=[far])
    assert card.failed == ["far from the policy"]
    line = card.measurements.probes[-1]
    assert line.proxy > 5 and line.gold is not None and line.gold < -5
    assert line.agreement is not None and line.agreement.value < 0.05


def test_limits_are_options_and_refuse_what_is_no_number(planted: Any) -> None:
    random = planted.Planted(lambda text: hash_of(text), scale=0.05)
    assert card_of(planted, random, limits=CardLimits(accuracy=0)).failed == []
    with pytest.raises(InputError, match="tilt must be at least 0, got -1"):
        CardLimits(tilt=-1)


def test_scores_that_are_no_numbers_are_named(planted: Any) -> None:
    model = planted.Planted(lambda text: float("nan"))
    with pytest.raises(InputError, match="the reward model scores nan on 'v"):
        card_of(planted, model)


class Committee:
    """Members that see the truth, each with an error of its own on every text, larger on some texts than on others."""

    def __init__(self, planted: Any, *, blind: bool) -> None:
        self.planted, self.blind = planted, blind

    def member_scores(self, prompts: Any, completions: Any) -> np.ndarray:
        rng = np.random.default_rng(7)
        truth = np.array([self.planted.truth_of(text) for text in completions]) / self.planted.NOISE
        size = 3.0 * (np.array([hash_of(text) for text in completions]) > 0.5)
        mistake = size * rng.normal(size=len(truth))
        seen = np.zeros(len(truth)) if self.blind else size
        return truth[:, None] + mistake[:, None] + seen[:, None] * rng.normal(size=(len(truth), 4))

    def score(self, prompts: Any, completions: Any) -> np.ndarray:
        return self.member_scores(prompts, completions).mean(axis=1)


def test_disagreement_that_knows_the_errors_has_an_auroc_above_a_half(planted: Any) -> None:
    preferences = planted.preferences(250)
    knows, blind = (
        report_card(Committee(planted, blind=blind), preferences, rng=np.random.default_rng(0)).measurements.ensemble
        for blind in (False, True)
    )
    assert knows is not None and blind is not None
    assert knows.n_members == 4 and knows.auroc.low > 0.55
    assert knows.parts[-1].error.value > knows.parts[0].error.value + 0.1
    # All members make the same mistakes: they do not disagree, and say nothing.
    assert blind.auroc.value == 0.5
