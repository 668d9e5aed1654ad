"""The ridge baseline against dense linear algebra, and on a language whose words have known values."""

import numpy as np
import pytest

from textrl_env.errors import InputError
from textrl_env.reward_models.model import BagOfWordsRidge
from textrl_env.reward_models.model.bag_of_words import SparseRows, solve_ridge, text_features

VALUES = {"superb": 2.0, "good": 1.0, "plain": 0.0, "weak": -1.0, "awful": -2.0}


def made_up_reviews(n: int, seed: int) -> tuple[list[str], list[float]]:
    rng = np.random.default_rng(seed)
    words = [list(rng.choice([*VALUES, "the", "film", "is"], size=6)) for _ in range(n)]
    return [" ".join(row) for row in words], [sum(VALUES.get(word, 0.0) for word in row) for row in words]


@pytest.mark.parametrize("alpha", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("shape", [(40, 12), (12, 40)])
def test_solution_is_the_closed_form(alpha: float, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    dense = np.where(rng.random(shape) < 0.3, rng.normal(size=shape), 0.0)
    y = rng.normal(size=shape[0]) + 5
    rows, columns = np.nonzero(dense)
    w, c = solve_ridge(SparseRows(rows, columns, dense[rows, columns], shape), y, alpha=alpha)
    # The intercept as one more, unpenalised column.
    full = np.hstack([dense, np.ones((shape[0], 1))])
    penalty = alpha * np.diag([*np.ones(shape[1]), 0.0])
    expected = np.linalg.solve(full.T @ full + penalty, full.T @ y)
    np.testing.assert_allclose([*w, c], expected, atol=1e-6)


def test_features_are_words_pairs_and_marks() -> None:
    assert text_features("It isn't GOOD, it isn't!") == {
        "it", "isn't", "good", "!", "it isn't", "isn't good", "good it", "isn't !"
    }  # fmt: skip
    assert text_features("") == set()


def test_learns_the_value_of_words() -> None:
    model = BagOfWordsRidge(0.1).fit(*made_up_reviews(400, seed=0))
    texts, scores = made_up_reviews(200, seed=1)
    assert np.corrcoef(model.predict(texts), scores)[0, 1] > 0.9
    shuffled = np.random.default_rng(0).permutation(made_up_reviews(400, seed=0)[1])
    chance = BagOfWordsRidge(0.1).fit(made_up_reviews(400, seed=0)[0], shuffled.tolist())
    assert abs(np.corrcoef(chance.predict(texts), scores)[0, 1]) < 0.35


def test_strongest_features_come_in_order() -> None:
    words = [word for word in VALUES for _ in range(4)]
    model = BagOfWordsRidge(0.1).fit(words, [VALUES[word] for word in words])
    assert model.strongest(2) == (["superb", "good"], ["awful", "weak"])


def test_strong_penalty_predicts_the_mean_and_scores_may_shift() -> None:
    texts, scores = made_up_reviews(50, seed=0)
    np.testing.assert_allclose(BagOfWordsRidge(1e9).fit(texts, scores).predict(texts), np.mean(scores), atol=1e-5)
    shifted = BagOfWordsRidge(1.0).fit(texts, [score + 7 for score in scores]).predict(texts)
    np.testing.assert_allclose(shifted, BagOfWordsRidge(1.0).fit(texts, scores).predict(texts) + 7, atol=1e-6)


def test_word_order_counts_through_pairs_only() -> None:
    texts = ["not good", "good not"] * 5
    model = BagOfWordsRidge(0.01).fit(texts, [-1.0, 1.0] * 5)
    assert model.predict(["not good"])[0] < -0.9 < 0.9 < model.predict(["good not"])[0]


def test_unknown_and_empty_texts_get_the_intercept() -> None:
    model = BagOfWordsRidge(1.0).fit(*made_up_reviews(50, seed=0))
    alone = model.predict(["xyzzy", "", "superb"])
    assert alone[0] == alone[1] != alone[2]
    assert model.predict([]).shape == (0,)
    nothing = BagOfWordsRidge(1.0, min_texts=2).fit(["a", "b"], [1.0, 3.0])
    np.testing.assert_allclose(nothing.predict(["a", "zzz"]), 2.0)


def test_prediction_does_not_depend_on_the_batch() -> None:
    model = BagOfWordsRidge(1.0).fit(*made_up_reviews(50, seed=0))
    texts, _ = made_up_reviews(20, seed=9)
    np.testing.assert_allclose(model.predict(texts), [model.predict([text])[0] for text in texts], atol=1e-12)


def test_errors_say_what_is_wrong() -> None:
    for alpha in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="alpha must be > 0"):
            BagOfWordsRidge(alpha)
    with pytest.raises(InputError, match="min_texts must be >= 1"):
        BagOfWordsRidge(min_texts=0)
    with pytest.raises(InputError, match=r"call fit\(texts, scores\)"):
        BagOfWordsRidge().predict(["a"])
    with pytest.raises(InputError, match="as many scores as texts"):
        BagOfWordsRidge().fit(["a", "b"], [1.0])
    with pytest.raises(InputError, match="score 1 is not finite: nan"):
        BagOfWordsRidge().fit(["a", "b"], [1.0, float("nan")])
    with pytest.raises(InputError, match="sequence of texts, got one string"):
        BagOfWordsRidge().fit(["a", "b"], [1.0, 2.0]).predict("a")
