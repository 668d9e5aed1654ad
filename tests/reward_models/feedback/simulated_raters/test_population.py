"""Simulated raters: their frequencies are the closed form's, and the ceiling is what an oracle reaches."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.simulated_raters import RaterPopulation, SimulatedRater


def stated(prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float]:
    """A utility that the test can read: the number that the completion starts with."""
    return [float(completion.split()[0]) for completion in completions]


TEXTS = ["0.1 a", "0.4 b b", "0.55 c c c", "0.9 d"]


def population(*raters: SimulatedRater) -> RaterPopulation:
    return RaterPopulation(raters or (SimulatedRater("ann", 0.2), SimulatedRater("bob", 0.6, 0.05)), stated)


def test_pair_frequencies_inside_a_ranking_are_the_closed_form() -> None:
    raters = population()
    rows = raters.rank(["q"] * 20_000, [TEXTS] * 20_000, rng=np.random.default_rng(0))
    for a, b in itertools.combinations(TEXTS, 2):
        seen = np.mean([row["ranking"].index(a) < row["ranking"].index(b) for row in rows])
        # Standard error at most 0.0035; a swapped sign or a noise of twice the size is off by far more.
        assert abs(seen - raters.preference_probability("q", a, b)) < 0.014


def test_first_choice_is_a_softmax_of_utility() -> None:
    raters = population(SimulatedRater("ann", 0.25))
    rows = raters.rank(["q"] * 20_000, [TEXTS] * 20_000, rng=np.random.default_rng(1))
    weights = np.exp(np.array([0.1, 0.4, 0.55, 0.9]) / 0.25)
    seen = np.array([np.mean([row["chosen"] == text for row in rows]) for text in TEXTS])
    np.testing.assert_allclose(seen, weights / weights.sum(), atol=0.014)


def test_pair_probability_by_hand() -> None:
    # odds e^1 : 1 for a utility difference of one noise scale
    one = population(SimulatedRater("ann", 0.5)).preference_probability("q", "0.9 x", "0.4 x")
    assert one == pytest.approx(0.7310585786)
    # bias 0.1 per word, 2 words more: another 0.2 / 0.5
    biased = population(SimulatedRater("ann", 0.5, 0.1)).preference_probability("q", "0.9 x x x", "0.6 x")
    assert biased == pytest.approx(0.7310585786)
    both = population(SimulatedRater("ann", 0.5), SimulatedRater("bob", 0.5)).preference_probabilities(
        ["q", "q"], ["0.9 x", "0.4 x"], ["0.4 x", "0.9 x"]
    )
    np.testing.assert_allclose(both, [0.7310585786, 0.2689414214])


def test_biased_rater_prefers_the_longer_and_an_unbiased_one_does_not() -> None:
    short, long = "0.5 yes", "0.5 yes and so on and on and on and on"
    for bias, low, high in ((0.05, 0.85, 1.0), (0.0, 0.46, 0.54), (-0.05, 0.0, 0.15)):
        raters = population(SimulatedRater("ann", 0.2, bias))
        rows = raters.rank(["q"] * 2000, [[short, long]] * 2000, rng=np.random.default_rng(2))
        assert low <= np.mean([row["chosen"] == long for row in rows]) <= high


def test_ceiling_is_the_accuracy_of_an_oracle_and_no_other_predictor_beats_it() -> None:
    raters = RaterPopulation.default(stated, seed=4)
    rng = np.random.default_rng(3)
    completions = [
        [f"{u:.3f}{' w' * int(k)}" for u, k in zip(rng.random(3), rng.integers(9, size=3), strict=True)]
        for _ in range(6000)
    ]
    rows = raters.rank(["q"] * 6000, completions, rng=rng)
    ceiling = raters.ceiling(rows)
    pairs = [pair for row in rows for pair in itertools.combinations(row["ranking"], 2)]
    winners, losers = [a for a, _ in pairs], [b for _, b in pairs]
    p = raters.preference_probabilities(["q"] * len(pairs), winners, losers)
    utility = np.array(stated([], winners)) - np.array(stated([], losers))
    assert abs(np.mean(p > 0.5) - ceiling) < 0.01
    assert np.mean(utility > 0) < ceiling  # the population is biased: pure utility is a worse predictor of its labels
    assert 0.5 < ceiling < 1.0


def test_ceiling_of_pairs_needs_no_ranking_column() -> None:
    raters = population(SimulatedRater("ann", 0.5))
    row = {"prompt": "q", "chosen": "0.4 x", "rejected": "0.9 x"}
    assert raters.ceiling([row]) == pytest.approx(0.7310585786)


def test_rows_have_the_columns_and_the_order_that_trl_reads() -> None:
    raters = population()
    (row,) = raters.rank(["q"], [TEXTS], rng=np.random.default_rng(5))
    assert row["prompt"] == "q" and sorted(row["ranking"]) == sorted(TEXTS)
    assert row["chosen"] == row["ranking"][0] and row["rejected"] == row["ranking"][-1]
    assert row["annotator"] in ("ann", "bob")


def test_same_texts_are_ranked_once_and_a_single_text_gives_no_row() -> None:
    rows = population().rank(
        ["p", "q", "r"], [["0.1 a", "0.1 a"], ["0.1 a", "0.4 b", "0.1 a"], []], rng=np.random.default_rng(6)
    )
    assert [row["prompt"] for row in rows] == ["q"]
    assert sorted(rows[0]["ranking"]) == ["0.1 a", "0.4 b"]
    assert population().rank([], [], rng=np.random.default_rng(6)) == []


def test_a_seed_gives_the_same_raters_and_the_same_labels() -> None:
    def labels(seed: int) -> list[dict[str, Any]]:
        raters = RaterPopulation.default(stated, seed=seed)
        return raters.rank(["q"] * 50, [TEXTS] * 50, rng=np.random.default_rng(seed))

    assert labels(1) == labels(1)
    assert labels(1) != labels(2)
    assert RaterPopulation.default(stated, seed=1).raters != RaterPopulation.default(stated, seed=2).raters


def test_default_population_mixes_kinds_and_every_rater_works() -> None:
    raters = RaterPopulation.default(stated, seed=0)
    assert len(raters.raters) == 12
    assert sum(rater.length_bias > 0 for rater in raters.raters) == 3
    rows = raters.rank(["q"] * 600, [TEXTS] * 600, rng=np.random.default_rng(7))
    assert {row["annotator"] for row in rows} == {rater.name for rater in raters.raters}


def test_columns_reach_the_utility_beside_their_completion() -> None:
    def from_column(prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float]:
        return [float(completion == best) for completion, best in zip(completions, columns["best"], strict=True)]

    raters = RaterPopulation((SimulatedRater("ann", 1e-3),), from_column)
    rows = raters.rank(
        ["p", "q"], [["a", "b", "c"], ["a", "b"]], rng=np.random.default_rng(8), columns={"best": ["c", "b"]}
    )
    assert [row["chosen"] for row in rows] == ["c", "b"]
    assert raters.ceiling([rows[1] | {"best": "b"}], columns=["best"]) == pytest.approx(1.0)


def test_extreme_differences_do_not_overflow() -> None:
    with np.errstate(all="raise"):
        assert population(SimulatedRater("ann", 1e-6)).preference_probability("q", "0 a", "1000 b") == 0.0


@pytest.mark.parametrize("noise", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_noise_is_named(noise: float) -> None:
    with pytest.raises(InputError, match="noise of rater 'ann'"):
        SimulatedRater("ann", noise)


def test_bad_input_is_named() -> None:
    def broken(prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float]:
        return [float("nan")] * len(completions)

    rng = np.random.default_rng(9)
    with pytest.raises(InputError, match=r"finite.*'q'"):
        RaterPopulation((SimulatedRater("ann", 1.0),), broken).rank(["q"], [["a", "b"]], rng=rng)
    with pytest.raises(InputError, match="at least one rater"):
        RaterPopulation((), stated)
    with pytest.raises(InputError, match="different names"):
        population(SimulatedRater("ann", 1.0), SimulatedRater("ann", 2.0))
    with pytest.raises(InputError, match="one list of completions per prompt"):
        population().rank(["q"], [], rng=rng)
    with pytest.raises(InputError, match="must be a list of texts"):
        population().rank(["q"], ["0.1 a"], rng=rng)
    with pytest.raises(InputError, match="at least one row"):
        population().ceiling([])
    with pytest.raises(InputError, match="n_raters"):
        RaterPopulation.default(stated, 0, seed=0)
