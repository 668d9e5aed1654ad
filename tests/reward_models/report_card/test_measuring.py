"""The parts of the card against slow loops, enumeration and known truths."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from textrl_env.reward_models import Preference
from textrl_env.reward_models.measuring import PairScores
from textrl_env.reward_models.report_card import Samples
from textrl_env.reward_models.report_card.accuracy import (
    OTHERS,
    estimate_ceiling,
    list_mistakes,
    measure_by_distance,
    measure_by_slice,
)
from textrl_env.reward_models.report_card.probes import best_of_n_probes, measure_probes
from textrl_env.reward_models.report_card.samples import list_favourites, measure_best_of_n
from textrl_env.reward_models.report_card.scores import ScoredPairs, score_preferences
from textrl_env.reward_models.report_card.shallow_features import compute_features, measure_shallow_share
from textrl_env.reward_models.report_card.uncertainty import draw_labels, fit_factor, measure_calibration
from textrl_env.stats.comparison import best_of_n_kl


@pytest.fixture
def pairs(planted: Any) -> ScoredPairs:
    return score_preferences(planted.Planted(planted.truth_of), planted.preferences(250))


def test_every_text_is_scored_once_and_every_pair_is_there(planted: Any) -> None:
    rows = [Preference("p", ("v50001 a", "v50000", "v50002")), Preference("p", ("v50000", "v50001 a"), 0.7)]
    found = score_preferences(planted.Planted(planted.truth_of, scale=1000), rows)
    assert list(found.completions) == ["v50001 a", "v50000", "v50002"]
    assert found.differences(found.scores).round().tolist() == [1, -1, -2, -1]
    assert found.probabilities.tolist() == [1, 1, 1, 0.7] and found.preference.tolist() == [0, 0, 0, 1]
    assert found.right().tolist() == [1, 0, 0, 0] and found.cluster.tolist() == [0] * 4


def test_ece_is_that_of_a_slow_loop(pairs: ScoredPairs) -> None:
    bins: dict[int, list[tuple[float, float]]] = {}
    for difference in pairs.differences(pairs.scores).tolist():
        for sign, label in ((1, 1.0), (-1, 0.0)):
            p = 1 / (1 + np.exp(-sign * difference))
            bins.setdefault(min(int(p * 10), 9), []).append((p, label))
    total = sum(map(len, bins.values()))
    slow = sum(len(own) / total * abs(np.mean([p - y for p, y in own])) for own in bins.values())
    found = measure_calibration(pairs, rng=np.random.default_rng(0))
    assert found.ece == pytest.approx(slow)
    # The truth is calibrated: chance explains its error, and its dots lie between the bars.
    assert found.ece < found.ece_by_chance < 0.05
    assert sum(own.low <= own.observed <= own.high for own in found.bins) >= 8


def test_labels_that_the_model_draws_are_rankings_and_come_as_often_as_it_says(pairs: ScoredPairs) -> None:
    rng = np.random.default_rng(0)
    own = pairs.differences(pairs.scores)
    wins = np.array([draw_labels(pairs, rng).differences == own for _ in range(2000)])
    assert np.abs(wins.mean(axis=0) - 1 / (1 + np.exp(-own))).max() < 6 * 0.5 / np.sqrt(2000)
    # Three texts of a ranking: no draw prefers a to b, b to c and c to a.
    assert not ((wins[:, 0::3] == wins[:, 2::3]) & (wins[:, 0::3] != wins[:, 1::3])).any()


def test_the_temperature_is_the_likeliest() -> None:
    rng = np.random.default_rng(3)
    d = rng.normal(scale=2, size=500)
    p = (rng.random(500) < 1 / (1 + np.exp(-0.4 * d))).astype(float)
    slow = minimize_scalar(lambda a: np.logaddexp(0, np.where(p > 0.5, -a * d, a * d)).sum(), bounds=(0, 5)).x
    assert fit_factor(PairScores(d, p)) == pytest.approx(slow, abs=1e-4)
    assert fit_factor(PairScores(d, (d < 0).astype(float))) == 0
    assert fit_factor(PairScores(np.zeros(3), np.ones(3))) == 0


def test_accuracy_by_distance_takes_every_pair_once_and_rises(pairs: ScoredPairs) -> None:
    parts = measure_by_distance(pairs, attainable=None, rng=np.random.default_rng(0))
    assert [part.n_pairs for part in parts] == [150] * 5
    values = [part.accuracy.value for part in parts]
    assert np.mean(values) == pytest.approx(pairs.right().mean()) and values[0] < 0.65 < 0.9 < values[-1]
    # The truth is as accurate as it says, bin by bin.
    assert all(part.accuracy.low - 0.02 <= part.expected <= part.accuracy.high + 0.02 for part in parts)


def test_rare_values_of_a_slice_are_put_together(pairs: ScoredPairs) -> None:
    names = ["often"] * 100 + [f"rare {number}" for number in range(150)]
    rng = np.random.default_rng(0)
    (found,) = measure_by_slice(pairs, {"name": names}, attainable=np.full(750, 0.9), rng=rng).values()
    assert found[0].name == "often" and found[0].n_pairs == 300 and found[0].n_prompts == 100
    assert found[-1].name == OTHERS and sum(part.n_pairs for part in found) == 750
    assert found[0].accuracy.value == pairs.right()[:300].mean() and found[0].ceiling == pytest.approx(0.9)


def test_the_ceiling_from_repeats_is_right_where_all_pairs_are_alike_and_never_below_otherwise() -> None:
    rng = np.random.default_rng(0)
    for chances in (np.full(2000, 0.8), rng.uniform(size=2000)):
        rows = [
            Preference(f"p{number}", ("a", "b") if rng.random() < chance else ("b", "a"))
            for number, chance in enumerate(chances)
            for _ in range(3)
        ]
        found = estimate_ceiling(rows)
        best = np.maximum(chances, 1 - chances).mean()
        assert found is not None and found.by_pair is None
        assert best - 0.02 < found.value < (0.82 if chances[0] == chances[1] else best + 0.08)
    assert estimate_ceiling(rows[:60]) is None and estimate_ceiling(rows[::3]) is None


def test_features_by_hand() -> None:
    found = compute_features(["where is it", "p"], ["It is , it is here !", ""])
    assert {name: values.tolist() for name, values in found.items()} == {
        "words": [7, 0],
        "characters": [20, 0],
        "punctuation": [2, 0],
        "repetition": [0.25, 0],
        "variety": [0.6, 0],
        "prompt overlap": [0.8, 0],
    }


def test_matched_lengths_and_tilt_of_a_calibrated_model(planted: Any) -> None:
    """People like longer texts, as they say more; the truth prefers them just as often, and so it is not tilted."""
    rows = planted.preferences(400, length_matters=1.5)
    truth = score_preferences(planted.Planted(planted.truth_of), rows)
    found = measure_shallow_share(truth, rng=np.random.default_rng(0))
    words = found.features[0]
    assert words.people.low > 0.6 and words.correlation > 0.6
    assert words.tilt.low < 0 < words.tilt.high and abs(words.tilt.value) < 0.03
    assert found.share_left.value < 0.8 and found.matched.low > 0.6
    ruler = score_preferences(planted.Planted(lambda text: float(len(text.split()))), rows)
    matched = measure_shallow_share(ruler, rng=np.random.default_rng(0)).matched
    assert matched.low < 0.55 < found.matched.value


def test_best_of_n_follows_every_subset() -> None:
    rng = np.random.default_rng(0)
    scores, gold = rng.normal(size=(2, 3, 8))
    pool = Samples(["a", "b", "c"], [["t"] * 8] * 3, scores, gold, None)
    points = measure_best_of_n(pool, rng=rng).points
    assert [point.n for point in points] == [1, 2]
    for point in points:
        subsets = list(combinations(range(8), point.n))
        best = [[max(subset, key=lambda at: row[at]) for subset in subsets] for row in scores]
        assert point.kl == best_of_n_kl(point.n)
        assert point.proxy == pytest.approx(np.mean([scores[i][at] for i in range(3) for at in best[i]]))
        assert point.gold is not None
        assert point.gold.value == pytest.approx(np.mean([gold[i][at] for i in range(3) for at in best[i]]))
        assert point.gold_best == pytest.approx(np.mean([max(row[list(s)]) for row in gold for s in subsets]))


def test_probes_agree_as_a_slow_loop_says() -> None:
    rng = np.random.default_rng(0)
    gold = rng.integers(3, size=(4, 6)).astype(float)
    scores = gold + rng.normal(size=(4, 6))
    pool = Samples(list("abcd"), [["one two"] * 6] * 4, scores, gold, None)
    probes = best_of_n_probes(pool)
    assert [probe.name for probe in probes] == ["the policy itself", "best of 2"]
    assert probes[1].samples.scores.tolist() == scores.reshape(4, 3, 2).max(axis=2).tolist()
    line = measure_probes(probes[1:], reference=pool, rng=rng)[0]
    right = [
        ((s > t) == (g > h))
        for own, own_gold, other, other_gold in zip(
            probes[1].samples.scores, probes[1].samples.gold, scores, gold, strict=True
        )
        for s, g in zip(own, own_gold, strict=True)
        for t, h in zip(other, other_gold, strict=True)
        if g != h
    ]
    assert line.agreement is not None and line.agreement.value == pytest.approx(np.mean(right))
    assert line.n_pairs == len(right) and line.words == 2
    assert line.proxy == pytest.approx((scores.reshape(4, 3, 2).max(axis=2).mean() - scores.mean()) / scores.std())


def test_examples_are_the_surest_mistakes_and_what_is_liked_too_well(planted: Any, pairs: ScoredPairs) -> None:
    rows = list_mistakes(pairs)
    gaps = [row["other_score"] - row["preferred_score"] for row in rows]
    assert gaps == sorted(gaps, reverse=True) and gaps[0] == -pairs.differences(pairs.scores).min()
    assert len({row["prompt"] for row in rows}) == 5
    pool = Samples(["a", "b"], [["x", "y"], ["z", "w"]], np.array([[1.0, 2.0], [3.0, 0.0]]), None, None)
    assert [row["completion"] for row in list_favourites(pool)] == ["z", "y"]
