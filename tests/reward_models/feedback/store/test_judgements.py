"""Items and judgements: what is refused, and that the order shown leaves no trace in what is stored."""

from itertools import permutations
from typing import Any

import pytest

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.store import Item, Judgement, rank_groups
from textrl_env.reward_models.feedback.store.items import item_fault


def test_the_order_shown_leaves_no_trace() -> None:
    """Whoever judges by quality gives the same judgement in every order."""
    quality = {"a": 3, "b": 1, "c": 3, "d": 2}
    texts = tuple(quality)
    found = set()
    for order in permutations(range(4)):
        shown = [texts[index] for index in order]
        ranks = [1 + sum(quality[other] > quality[text] for other in shown) for text in shown]
        tags = [["false"] if text == "b" else [] for text in shown]
        judgement = Judgement.from_values({"ranks": ranks, "tags": tags}, "ranking", 4, is_answer=True)
        found.add(judgement.restore_order(order))
    (judgement,) = found
    assert judgement.ranks == (1, 4, 1, 3) and judgement.tags == ((), ("false",), (), ())


def test_ranks_count_the_better_ones() -> None:
    assert rank_groups([[2], [0, 1], [3]]) == (2, 2, 1, 4)


def test_verdicts_are_signs_of_pairs_or_points() -> None:
    ranked = Judgement.from_values({"ranks": [1, 3, 1]}, "ranking", 3, is_answer=True)
    assert ranked.verdicts == (-1, 0, 1)
    assert Judgement.from_values({"rating": 5}, "rating", 1, is_answer=True).verdicts == (5,)
    assert Judgement.from_values({}, "pair", 2, is_answer=False).verdicts == ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "expected ranks only"),
        ({"ranks": [1, 2], "rating": 3}, "expected ranks only"),
        ({"ranks": [1, 3]}, "'ranks' must be 2 ranks"),
        ({"ranks": [2, 2]}, "'ranks' must be 2 ranks"),
        ({"ranks": [True, 2]}, "'ranks' must be 2 ranks"),
        ({"ranks": [1, 2, 3]}, "'ranks' must be 2 ranks"),
        ({"ranks": "12"}, "'ranks' must be 2 ranks"),
        ({"ranks": [1, 2], "tags": [["rude"], []]}, "'tags' must be 2 lists of 'unsafe'"),
        ({"ranks": [1, 2], "tags": [["unsafe"]]}, "'tags' must be 2 lists"),
        ({"ranks": [1, 2], "tags": [["unsafe", "unsafe"], []]}, "'tags' must be 2 lists"),
        ({"ranks": [1, 2], "reasons": [["correct"]]}, "'reasons' must be a list"),
        ({"ranks": [1, 2], "comment": 7}, "'comment' must be text"),
        ({"ranks": [1, 2], "comment": "\ud800"}, "'comment' holds half a surrogate pair"),
        ({"ranks": [1, 2], "comment": "x" * 2001}, "'comment' has 2001 characters"),
        ({"ranks": [1, 2], "choice": 1}, "unknown keys in a judgement: 'choice'"),
    ],
)
def test_a_bad_judgement_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message.replace("(", r"\(").replace("+", r"\+")):
        Judgement.from_values(values, "pair", 2, is_answer=True)


@pytest.mark.parametrize("rating", [0, 8, 3.0, "4", True, None])
def test_a_rating_is_a_whole_number_from_1_to_7(rating: Any) -> None:
    with pytest.raises(InputError):
        Judgement.from_values({"rating": rating}, "rating", 1, is_answer=True)


@pytest.mark.parametrize(
    ("task", "prompt", "completions", "message"),
    [
        ("vote", "p", ["a", "b"], "'task' must be one of pair, ranking, rating"),
        ("pair", 3, ["a", "b"], "'prompt' must be text"),
        ("pair", [{"role": "user"}], ["a", "b"], "'prompt' must hold messages with 'content'"),
        ("pair", "p", ["a", "b", "c"], "'completions' must be a list of 2 for task 'pair', got 3"),
        ("ranking", "p", list("abcdefghij"), "a list of 2 to 9"),
        ("rating", "p", "a", "a list of 1 for task 'rating', got str"),
        ("pair", "p", ["a", None], "completion 2 must be text, got null"),
        ("pair", "p", ["a", "a"], "the same text"),
    ],
)
def test_a_bad_item_is_refused(task: Any, prompt: Any, completions: Any, message: str) -> None:
    assert message in (item_fault(task, prompt, completions) or "")


def test_the_id_follows_from_the_content_alone() -> None:
    conversation = [{"role": "user", "content": "hi"}]
    turned = [{"content": "hi", "role": "user"}]
    assert Item("pair", conversation, ("a", "b")).id == Item("pair", turned, ("a", "b")).id
    others = [("pair", "hi", ("a", "b")), ("pair", conversation, ("b", "a")), ("ranking", conversation, ("a", "b"))]
    ids = {Item("pair", conversation, ("a", "b")).id, *(Item(*other).id for other in others)}  # type: ignore[arg-type]
    assert len(ids) == 4
