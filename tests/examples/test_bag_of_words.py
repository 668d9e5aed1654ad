"""The ridge baseline against dense linear algebra, and on a language whose words have known values."""

from typing import Any

import numpy as np
import pytest
from bag_of_words import bag_of_words_ridge

VALUES = {"superb": 2.0, "good": 1.0, "plain": 0.0, "weak": -1.0, "awful": -2.0}


def made_up_reviews(n: int, seed: int) -> tuple[list[str], list[float]]:
    rng = np.random.default_rng(seed)
    words = [list(rng.choice([*VALUES, "the", "film", "is"], size=6)) for _ in range(n)]
    return [" ".join(row) for row in words], [sum(VALUES.get(word, 0.0) for word in row) for row in words]


@pytest.fixture(scope="module")
def model() -> Any:
    return bag_of_words_ridge(alpha=1.0).fit(*made_up_reviews(50, seed=0))


@pytest.mark.parametrize("alpha", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("n_texts", [10, 100])
def test_solution_is_the_closed_form(alpha: float, n_texts: int) -> None:
    texts, scores = made_up_reviews(n_texts, seed=0)
    model = bag_of_words_ridge(alpha=alpha).fit(texts, scores)
    dense = model[0].transform(texts).toarray()
    # The intercept as one more, unpenalised column.
    full = np.hstack([dense, np.ones((n_texts, 1))])
    penalty = alpha * np.diag([*np.ones(dense.shape[1]), 0.0])
    expected = np.linalg.solve(full.T @ full + penalty, full.T @ np.array(scores))
    np.testing.assert_allclose([*model[1].coef_, model[1].intercept_], expected, atol=1e-6)


def test_features_are_words_pairs_and_marks() -> None:
    features = bag_of_words_ridge(alpha=1.0, min_texts=1)[0].fit(["It isn't GOOD, it isn't!"])
    words, pairs = {"it", "isn't", "good", "!"}, {"it isn't", "isn't good", "good it", "isn't !"}
    assert set(features.vocabulary_) == words | pairs


def test_learns_the_value_of_words() -> None:
    model = bag_of_words_ridge(alpha=0.1).fit(*made_up_reviews(400, seed=0))
    texts, scores = made_up_reviews(200, seed=1)
    assert np.corrcoef(model.predict(texts), scores)[0, 1] > 0.9
    shuffled = np.random.default_rng(0).permutation(made_up_reviews(400, seed=0)[1])
    chance = bag_of_words_ridge(alpha=0.1).fit(made_up_reviews(400, seed=0)[0], shuffled)
    assert abs(np.corrcoef(chance.predict(texts), scores)[0, 1]) < 0.35


def test_word_order_counts_through_pairs_only() -> None:
    texts = ["not good", "good not"] * 5
    model = bag_of_words_ridge(alpha=0.01).fit(texts, [-1.0, 1.0] * 5)
    assert model.predict(["not good"])[0] < -0.9 < 0.9 < model.predict(["good not"])[0]


def test_unknown_and_empty_texts_get_the_intercept(model: Any) -> None:
    unknown, empty, word = model.predict(["xyzzy", "", "superb"])
    assert unknown == empty != word


def test_prediction_does_not_depend_on_the_batch(model: Any) -> None:
    texts, _ = made_up_reviews(20, seed=9)
    np.testing.assert_allclose(model.predict(texts), [model.predict([text])[0] for text in texts], atol=1e-12)
