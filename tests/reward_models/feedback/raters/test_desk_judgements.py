"""What raters did at a desk arrives at the statistics as they meant it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.raters import Comparison, read_judgements
from textrl_env.reward_models.feedback.raters.comparisons import Rating
from textrl_env.reward_models.feedback.store import Item, Store

PAIR = Item("pair", "Which?", ("one", "two"))
TRIPLE = Item("ranking", [{"role": "user", "content": "Order!"}], ("a", "b", "c"))
RATED = Item("rating", "How good?", ("so so",))


def ask(make_desk: Any, posted: Any, store: Store, item: Item, **values: Any) -> Path:
    """One item answered by one person, in the order in which it was shown."""
    desk = make_desk([item])
    question = desk.question("ada")
    desk.save(desk.answer("ada", posted(question, **values)))
    shown = [item.completions[index] for index in question.order]
    path: Path = store.path
    store.close()
    (path.parent / "shown.txt").write_text("\n".join(shown))
    return path


def test_a_pair_and_a_ranking_come_back_best_first(make_desk: Callable[..., Any], posted: Any, store: Store) -> None:
    path = ask(make_desk, posted, store, TRIPLE, ranks=[3, 1, 2])
    first, second, third = (path.parent / "shown.txt").read_text().split("\n")
    [comparison] = read_judgements(path)
    assert isinstance(comparison, Comparison)
    assert comparison.annotator == "ada"
    assert comparison.ranking == (second, third, first)
    assert not comparison.tie
    assert "Order!" in comparison.prompt
    assert comparison.time is not None


def test_ties_are_pairs(make_desk: Callable[..., Any], posted: Any, store: Store) -> None:
    path = ask(make_desk, posted, store, TRIPLE, ranks=[1, 3, 1])
    first, second, third = (path.parent / "shown.txt").read_text().split("\n")
    found = {(frozenset(one.ranking), one.ranking[0] if not one.tie else "tie") for one in read_judgements(path)}
    assert found == {
        (frozenset({first, third}), "tie"), (frozenset({first, second}), first), (frozenset({third, second}), third)
    }  # fmt: skip


def test_ratings(make_desk: Callable[..., Any], posted: Any, store: Store) -> None:
    [rating] = read_judgements(ask(make_desk, posted, store, RATED, rating=6))
    assert isinstance(rating, Rating)
    assert (rating.prompt, rating.completion, rating.value) == ("How good?", "so so", 6.0)


def test_what_cannot_be_judged_is_named(make_desk: Callable[..., Any], posted: Any, store: Store) -> None:
    with pytest.raises(InputError, match="no database here"):
        read_judgements(store.path.with_name("other.db"))
    desk = make_desk([PAIR, RATED])
    with pytest.raises(InputError, match="nobody has answered"):
        read_judgements(store.path)
    for _ in range(2):
        desk.save(desk.answer("ada", posted(desk.question("ada"))))
    with pytest.raises(InputError, match="comparisons and ratings"):
        read_judgements(store.path)
