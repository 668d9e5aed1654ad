"""Rankings with a soft label per pair, from raters' scores, and judges measured against raters."""

import numpy as np
import pytest
import torch
from data.movie_reviews import RatedText

from textrl_env.errors import InputError
from textrl_env.reward_models import preferences_of
from textrl_env.reward_models.measuring import accuracy_against_raters, rankings_from_ratings
from textrl_env.reward_models.measuring.against_raters import pair_accuracy
from textrl_env.reward_models.measuring.ratings import preference_probability


def rated_texts(n: int, seed: int = 0) -> list[RatedText]:
    rng = np.random.default_rng(seed)
    scores = rng.integers(-2, 3, (n, 1)) + rng.integers(-2, 3, (n, 9))
    return [RatedText(str(i), f"text {i}", tuple(row)) for i, row in enumerate(scores.tolist())]


def test_every_text_stands_in_one_ranking_and_every_pair_has_its_label() -> None:
    rated = rated_texts(23)
    rows = rankings_from_ratings(rated, size=5, rng=np.random.default_rng(1))
    assert sorted(id_ for row in rows for id_ in row["ranking_ids"]) == sorted(item.id for item in rated)
    by_text = {item.text: item for item in rated}
    for row, preference in zip(rows, preferences_of(rows), strict=True):
        texts = row["ranking"]
        means = [by_text[text].mean for text in texts]
        assert means == sorted(means, reverse=True)
        pairs = [(a, b) for i, a in enumerate(texts) for b in texts[i + 1 :]]
        expected = [preference_probability(by_text[a].ratings, by_text[b].ratings) for a, b in pairs]
        assert preference.pair_probabilities == pytest.approx(expected)
        # The order of the labels is that in which training pairs the scores.
        first, second = torch.triu_indices(len(texts), len(texts), offset=1)
        assert [(texts[i], texts[j]) for i, j in zip(first, second, strict=True)] == pairs


def test_other_groups_with_another_generator_state() -> None:
    rng = np.random.default_rng(1)
    first, second = (rankings_from_ratings(rated_texts(20), size=5, rng=rng) for _ in range(2))
    assert [row["ranking_ids"] for row in first] != [row["ranking_ids"] for row in second]


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        ([0.6], r"must be 3 numbers in \[0, 1\]"),
        ([0.6, 0.7, 1.2], r"must be 3 numbers in \[0, 1\]"),
        ("abc", "must be a list, got 'abc'"),
    ],
)
def test_wrong_soft_labels_are_named(labels: object, fault: str) -> None:
    with pytest.raises(InputError, match=f"preference 0: 'soft_labels' {fault}"):
        preferences_of([{"prompt": "", "ranking": ["a", "b", "c"], "soft_labels": labels}])


def test_a_ranking_without_labels_shares_one_probability() -> None:
    (preference,) = preferences_of([{"prompt": "", "ranking": ["a", "b", "c"]}])
    assert preference.pair_probabilities == (1.0, 1.0, 1.0)


def test_a_judge_that_knows_the_means_is_right_and_its_opposite_wrong() -> None:
    rated = rated_texts(40)
    means = {item.text: item.mean for item in rated}
    judges = {
        "knows": lambda texts: [means[text] for text in texts],
        "opposite": lambda texts: [-means[text] for text in texts],
        "silent": lambda texts: [0.0] * len(texts),
    }
    result = accuracy_against_raters(judges, rated, rng=np.random.default_rng(0), n_pairs=300)
    assert result["knows_accuracy_half"] > 0.97 and result["opposite_accuracy_half"] < 0.03
    assert result["silent_accuracy_any"] == 0.5
    assert 0.5 < result["human_ceiling_any"] < result["human_ceiling_half"] < 1


def test_pair_accuracy_counts_even_pairs_half() -> None:
    pairs = [
        {"chosen_id": "a", "rejected_id": "b", "soft_label": 0.9},
        {"chosen_id": "b", "rejected_id": "a", "soft_label": 0.5},
    ]
    assert pair_accuracy({"a": 2.0, "b": 1.0}, pairs) == 0.75
