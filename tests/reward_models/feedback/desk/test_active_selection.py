"""Active selection: what an ensemble disagrees about, and what it must not depend on."""

import math
from typing import Any

import numpy as np
import pytest

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.desk import score_disagreement
from textrl_env.reward_models.feedback.desk.active_selection import preference_spread, rating_spread
from textrl_env.reward_models.feedback.store import Item


def test_two_models_by_hand() -> None:
    # One says sigmoid(2), the other sigmoid(-2): the spread of two numbers is half their distance.
    apart = (1 / (1 + math.exp(-2)) - 1 / (1 + math.exp(2))) / 2
    assert preference_spread([[2.0, 0.0], [0.0, 2.0]]) == pytest.approx(apart)
    assert preference_spread([[2.0, 0.0], [5.0, 3.0]]) == 0, "a constant added to a model's scores says nothing"


def test_opposed_certainties_are_the_most_and_sure_models_overflow_nothing() -> None:
    assert preference_spread([[1e4, -1e4], [-1e4, 1e4]]) == pytest.approx(0.5)
    assert preference_spread([[1e4, -1e4], [1e4, -1e4]]) == 0


def test_the_order_of_completions_and_models_does_not_matter() -> None:
    scores = np.random.default_rng(0).normal(size=(4, 5))
    turned = scores[::-1, [3, 1, 4, 0, 2]]
    assert preference_spread(scores) == pytest.approx(preference_spread(turned))


def test_ratings_are_compared_in_each_models_own_unit() -> None:
    scores = np.random.default_rng(0).normal(size=(3, 8))
    rescaled = scores * [[1.0], [50.0], [0.1]] + [[0.0], [9.0], [-3.0]]
    np.testing.assert_allclose(rating_spread(scores), rating_spread(rescaled))
    assert np.allclose(rating_spread(np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])), 0)
    assert rating_spread(np.ones((2, 3))).tolist() == [0, 0, 0]


def test_what_the_models_dispute_comes_out_on_top_and_each_text_is_scored_once() -> None:
    items = {
        name: Item("pair", prompt, texts)
        for name, prompt, texts in (
            ("clear", "p", ("a", "b")),
            ("disputed", "p", ("a", "c")),
            ("half", "q", ("a", "d")),
        )
    }
    calls: list[int] = []

    tables = [{"a": 0, "b": 3, "c": 3, "d": 1}, {"a": 0, "b": 3, "c": -3, "d": 0}]

    def member_scores(prompts: Any, completions: Any) -> Any:
        assert len(prompts) == len(completions)
        calls.append(len(completions))
        return np.array([[table[text] for table in tables] for text in completions])

    found = score_disagreement(items, member_scores)
    assert sorted(found, key=lambda name: -found[name]) == ["disputed", "half", "clear"] and found["clear"] == 0
    assert calls == [5]
    with pytest.raises(InputError, match="two reward models or more, got 1"):
        score_disagreement(items, lambda prompts, completions: member_scores(prompts, completions)[:, :1])
