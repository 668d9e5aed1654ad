"""Accuracy and calibration, with numbers worked out by hand and with scores known to be calibrated."""

import numpy as np
import pytest

from textrl_env.reward_models import preferences_of
from textrl_env.reward_models.measuring import (
    PairScores,
    accuracy,
    calibration,
    expected_calibration_error,
    quality_report,
    score_pairs,
)
from textrl_env.reward_models.measuring.quality import accuracy_by_margin


def pairs(differences: list[float], probabilities: list[float] | None = None) -> PairScores:
    return PairScores(np.array(differences), np.array(probabilities or [1.0] * len(differences)))


def calibrated(n: int, *, sign: float = 1.0) -> PairScores:
    """People choose with exactly the probability that the scores predict; the chosen completion stands first."""
    rng = np.random.default_rng(0)
    differences = rng.normal(scale=2.0, size=n)
    first_wins = rng.random(n) < 1 / (1 + np.exp(-differences))
    return PairScores(sign * np.where(first_wins, differences, -differences), np.ones(n))


def test_accuracy_by_hand() -> None:
    assert accuracy(pairs([1.0, -1.0, 0.2, 3.0])) == 0.75
    assert accuracy(pairs([1.0, 0.0])) == 0.75
    assert accuracy(pairs([1.0, -2.0], [0.5, 0.5])) == 0.5
    assert accuracy(pairs([1.0, -2.0], [0.9, 0.9])) == 0.5
    # Where people prefer the later one, putting it higher is right.
    assert accuracy(pairs([1.0, -2.0], [0.2, 0.1])) == 0.5
    assert accuracy(pairs([-1.0, -2.0], [0.2, 0.1])) == 1.0


def test_calibration_by_hand() -> None:
    bins = calibration(pairs([np.log(3), np.log(3), np.log(3), -np.log(3)]), n_bins=4)
    # P = 0.75 three times right and once wrong; each pair again in the other order.
    assert bins == [
        {"predicted": pytest.approx(0.25), "observed": pytest.approx(0.25), "count": 4},
        {"predicted": pytest.approx(0.75), "observed": pytest.approx(0.75), "count": 4},
    ]
    assert expected_calibration_error(bins) == pytest.approx(0.0)
    wrong = calibration(pairs([-np.log(3)] * 2), n_bins=4)
    assert expected_calibration_error(wrong) == pytest.approx(0.75)
    half = [{"predicted": 0.2, "observed": 0.5, "count": 1}, {"predicted": 0.9, "observed": 0.8, "count": 3}]
    assert expected_calibration_error(half) == pytest.approx((0.3 + 3 * 0.1) / 4)


def test_calibrated_scores_have_no_error_and_others_have() -> None:
    n = 40_000
    assert expected_calibration_error(calibration(calibrated(n))) < 0.01
    assert expected_calibration_error(calibration(calibrated(n, sign=-1.0))) > 0.4
    overconfident = calibrated(n, sign=4.0)
    assert expected_calibration_error(calibration(overconfident)) > 0.1
    assert accuracy(overconfident) == accuracy(calibrated(n)) == 1 - accuracy(calibrated(n, sign=-1.0))


def test_soft_labels_are_observed_as_frequencies() -> None:
    bins = calibration(pairs([np.log(4)] * 3, [0.8] * 3))
    assert expected_calibration_error(bins) == pytest.approx(0.0)


def test_accuracy_by_margin_counts_every_pair_once() -> None:
    rows = accuracy_by_margin(pairs([0.1, -0.2, 0.5, 1.5, -9.0]))
    assert [(row["margin_low"], row["accuracy"], row["count"]) for row in rows] == [
        (0, 0.5, 2),
        (0.5, 1.0, 1),
        (1, 1.0, 1),
        (4, 0.0, 1),
    ]
    assert "margin_high" not in rows[-1]


def test_pairs_of_rankings_are_scored_in_the_order_of_their_labels() -> None:
    class Length:
        def score(self, prompts: list[str], completions: list[str]) -> np.ndarray:
            return np.array([float(len(text)) for text in completions])

    rows = [
        {"prompt": "p", "chosen": "aaaa", "rejected": "a", "ranking": ["aaaa", "aa", "a"]},
        {"prompt": "q", "chosen": "b", "rejected": "bbb", "soft_label": 0.6},
    ]
    found = score_pairs(Length(), preferences_of(rows))  # type: ignore[arg-type]
    assert found.differences.tolist() == [2, 3, 1, -2]
    assert found.probabilities.tolist() == [1, 1, 1, 0.6]
    report = quality_report(found)
    assert report["accuracy"] == 0.75 and report["n_pairs"] == 4
