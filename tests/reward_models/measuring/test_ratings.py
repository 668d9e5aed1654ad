"""Preferences from ratings, against slow loops over every pair of raters."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from textrl_env.errors import InputError
from textrl_env.reward_models.measuring.against_raters import human_ceiling, panel_ceiling
from textrl_env.reward_models.measuring.ratings import pairs_from_panels, pairs_from_ratings, preference_probability


@dataclass(frozen=True)
class Text:
    id: str
    text: str
    ratings: tuple[int, ...]
    panel: int | None = None


def some_texts(n: int = 30, *, seed: int = 0, panels: int = 0) -> list[Text]:
    rng = np.random.default_rng(seed)
    texts = []
    for i in range(n):
        panel = i % panels if panels else None
        n_raters = 5 + panel if panel is not None else int(rng.integers(2, 9))
        ratings = np.clip(np.round(rng.normal(rng.normal(), 1.5, n_raters)), -4, 4).astype(int)
        texts.append(Text(f"id{i}", f"text {i}", tuple(ratings.tolist()), panel))
    return texts


def slow_preference(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    return float(np.mean([1.0 if x > y else 0.5 if x == y else 0.0 for x, y in itertools.product(a, b)]))


def by_id(texts: list[Text]) -> dict[str, Text]:
    return {item.id: item for item in texts}


def pair(a: Text, b: Text) -> dict[str, str]:
    return {"chosen_id": a.id, "rejected_id": b.id}


def test_preference_probability_by_hand() -> None:
    assert preference_probability([2], [1]) == 1
    assert preference_probability([1, 3], [2]) == 0.5
    assert preference_probability([-4, 4, 4], [4, -4]) == pytest.approx((1 * 0.25 + 2 * 0.75) / 3)
    assert preference_probability([0, 1], [2, 0, 1]) + preference_probability([2, 0, 1], [0, 1]) == 1


@pytest.mark.parametrize("min_gap", [0.0, 0.5, 2.0])
def test_rows_keep_the_disagreement(min_gap: float) -> None:
    texts = some_texts()
    known = by_id(texts)
    for row in pairs_from_ratings(texts, n_pairs=100, min_gap=min_gap, rng=np.random.default_rng(3), prompt="Review:"):
        a, b = known[row["chosen_id"]], known[row["rejected_id"]]
        assert (row["prompt"], row["chosen"], row["rejected"]) == ("Review:", a.text, b.text)
        assert row["soft_label"] == pytest.approx(slow_preference(a.ratings, b.ratings))
        assert 0.5 <= row["soft_label"] <= 1
        assert row["margin"] == pytest.approx(np.mean(a.ratings) - np.mean(b.ratings))
        assert abs(row["margin"]) >= max(min_gap, 1e-6) - 1e-9


@pytest.mark.parametrize("min_gap", [0.0, 0.5, 1.0])
def test_every_eligible_pair_can_come_and_comes_once(min_gap: float) -> None:
    texts = some_texts(20, seed=5)
    means = {item.id: np.mean(item.ratings) for item in texts}
    eligible = {
        frozenset((a.id, b.id))
        for a, b in itertools.combinations(texts, 2)
        if abs(means[a.id] - means[b.id]) >= min_gap - 1e-9 and abs(means[a.id] - means[b.id]) > 1e-9
    }
    rows = pairs_from_ratings(texts, n_pairs=len(eligible), min_gap=min_gap, rng=np.random.default_rng(0))
    assert {frozenset((row["chosen_id"], row["rejected_id"])) for row in rows} == eligible
    assert len(rows) == len(eligible)
    with pytest.raises(InputError, match=f"only {len(eligible)} pairs"):
        pairs_from_ratings(texts, n_pairs=len(eligible) + 1, min_gap=min_gap, rng=np.random.default_rng(0))


def test_pairs_are_drawn_uniformly_and_by_the_callers_generator() -> None:
    texts = [Text(str(i), str(i), (i, i)) for i in range(5)]
    before = np.random.get_state(legacy=False)["state"]
    counts: dict[frozenset[str], int] = {}
    rng = np.random.default_rng(0)
    for _ in range(4000):
        row = pairs_from_ratings(texts, n_pairs=1, min_gap=0, rng=rng)[0]
        key = frozenset((row["chosen_id"], row["rejected_id"]))
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 10 and min(counts.values()) > 320 and max(counts.values()) < 480
    np.testing.assert_equal(np.random.get_state(legacy=False)["state"], before)
    once, again = (pairs_from_ratings(texts, n_pairs=9, min_gap=0, rng=np.random.default_rng(1)) for _ in range(2))
    assert once == again


def test_equal_means_are_never_paired() -> None:
    texts = [Text("a", "a", (0, 2)), Text("b", "b", (1,)), Text("c", "c", (1, 1, 1)), Text("d", "d", (2,))]
    rows = pairs_from_ratings(texts, n_pairs=3, min_gap=0, rng=np.random.default_rng(0))
    assert {row["chosen_id"] for row in rows} == {"d"}


def test_majority_may_differ_from_the_means() -> None:
    texts = [Text("a", "a", (1, 1, 1, -4)), Text("b", "b", (0, 0, 0, 0))]
    (row,) = pairs_from_ratings(texts, n_pairs=1, min_gap=0, rng=np.random.default_rng(0))
    assert row["chosen_id"] == "a" and row["soft_label"] == 0.75 and row["margin"] == -0.25


def slow_ceiling(a: Text, b: Text) -> float:
    shares = []
    for i, j in itertools.product(range(len(a.ratings)), range(len(b.ratings))):
        rest_a, rest_b = (np.delete(x.ratings, k) for x, k in ((a, i), (b, j)))
        majority = np.sign(round(rest_a.mean() - rest_b.mean(), 9))
        shares.append((1 + majority * np.sign(a.ratings[i] - b.ratings[j])) / 2)
    return float(np.mean(shares))


def test_human_ceiling_equals_the_loop_over_all_raters() -> None:
    texts = some_texts(25, seed=2)
    pairs = list(itertools.combinations(texts, 2))
    expected = np.mean([slow_ceiling(a, b) for a, b in pairs])
    assert human_ceiling(texts, [pair(a, b) for a, b in pairs]) == pytest.approx(expected)
    assert human_ceiling(texts, [pair(b, a) for a, b in pairs]) == pytest.approx(expected)


def test_human_ceiling_at_its_ends() -> None:
    unanimous = [Text("a", "a", (2, 2, 2)), Text("b", "b", (-1, -1, -1))]
    assert human_ceiling(unanimous, [pair(*unanimous)]) == 1
    same = [Text("a", "a", (1, 1, 1)), Text("b", "b", (1, 1))]
    assert human_ceiling(same, [pair(*same)]) == 0.5
    # Leaving the judge out matters: with their own score in the majority, noise would seem to agree with itself.
    rng = np.random.default_rng(0)
    noise = [Text(str(i), "", tuple(rng.integers(-4, 5, 5).tolist())) for i in range(8000)]
    pairs = [pair(noise[i], noise[i + 1]) for i in range(0, len(noise), 2)]
    assert human_ceiling(noise, pairs) == pytest.approx(0.5, abs=0.015)
    with_themselves = [preference_probability(noise[i].ratings, noise[i + 1].ratings) for i in range(0, len(noise), 2)]
    assert np.mean([max(p, 1 - p) for p in with_themselves]) > 0.6


def test_panels_compare_each_rater_with_themselves() -> None:
    # Every rater prefers a by one point, but they differ so much in level that random raters would not show it.
    texts = [Text("a", "a", (-3, 1, 4), 7), Text("b", "b", (-4, 0, 3), 7)]
    (row,) = pairs_from_panels(texts, n_pairs=1, min_gap=0, rng=np.random.default_rng(0))
    assert row["chosen_id"] == "a" and row["soft_label"] == 1
    assert panel_ceiling(texts, [row]) == 1
    assert preference_probability(texts[0].ratings, texts[1].ratings) == pytest.approx(2 / 3)


def test_panel_pairs_stay_in_their_panel() -> None:
    texts = [*some_texts(24, seed=4, panels=4), Text("alone", "alone", (4, 4, 4, 4, 4))]
    known = by_id(texts)
    rows = pairs_from_panels(texts, n_pairs=25, min_gap=0.4, rng=np.random.default_rng(0))
    ceilings = []
    for row in rows:
        a, b = known[row["chosen_id"]], known[row["rejected_id"]]
        assert a.panel == b.panel is not None
        wins = [1.0 if x > y else 0.5 if x == y else 0.0 for x, y in zip(a.ratings, b.ratings, strict=True)]
        assert row["soft_label"] == pytest.approx(np.mean(wins)) and row["soft_label"] >= 0.5
        assert abs(row["margin"]) >= 0.4 - 1e-9
        for j, (x, y) in enumerate(zip(a.ratings, b.ratings, strict=True)):
            rest = np.sign(np.delete(a.ratings, j).sum() - np.delete(b.ratings, j).sum())
            ceilings.append((float((1 + rest * np.sign(x - y)) / 2), len(a.ratings)))
    assert len({frozenset((row["chosen_id"], row["rejected_id"])) for row in rows}) == 25
    expected = sum(value / n for value, n in ceilings) / len(rows)
    assert panel_ceiling(texts, rows) == pytest.approx(expected)


def test_errors_say_what_is_wrong() -> None:
    texts = some_texts(4)
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="n_pairs must be >= 1"):
        pairs_from_ratings(texts, n_pairs=0, min_gap=0, rng=rng)
    with pytest.raises(InputError, match="min_gap must be >= 0"):
        pairs_from_ratings(texts, n_pairs=1, min_gap=-1, rng=rng)
    with pytest.raises(InputError, match="at least 2 rated texts"):
        pairs_from_ratings(texts[:1], n_pairs=1, min_gap=0, rng=rng)
    with pytest.raises(InputError, match="'id0' is there twice"):
        pairs_from_ratings([*texts, texts[0]], n_pairs=1, min_gap=0, rng=rng)
    with pytest.raises(InputError, match="only 0 pairs"):
        pairs_from_panels(texts, n_pairs=1, min_gap=0, rng=rng)
    with pytest.raises(InputError, match=r"'bare' .* has no ratings"):
        pairs_from_ratings([*texts, Text("bare", "", ())], n_pairs=1, min_gap=0, rng=rng)
    with pytest.raises(InputError, match="pair 0: no column 'rejected_id'"):
        human_ceiling(texts, [{"chosen_id": "id0"}])
    with pytest.raises(InputError, match="pair 0: chosen_id 'zz' is not"):
        human_ceiling(texts, [{"chosen_id": "zz", "rejected_id": "id0"}])
    with pytest.raises(InputError, match="must not be empty"):
        human_ceiling(texts, [])
    lonely = [Text("a", "a", (1,)), Text("b", "b", (1, 2))]
    with pytest.raises(InputError, match="'a' must have at least 2 ratings"):
        human_ceiling(lonely, [pair(*lonely)])
    with pytest.raises(InputError, match="do not share their raters"):
        panel_ceiling(texts, [pair(texts[0], texts[1])])
