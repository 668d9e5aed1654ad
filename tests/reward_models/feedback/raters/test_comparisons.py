"""Judgements from files and from a desk, and the votes that they contain."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.raters import Comparison, read_judgements, tally_votes
from textrl_env.reward_models.feedback.raters.comparisons import Rating
from textrl_env.reward_models.feedback.store import Item, Store


def written(path: Path, *rows: dict[str, Any]) -> Path:
    file = path / "data.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


PAIR = {"prompt": "p", "chosen": "x", "rejected": "y", "annotator": "ann"}
RATING = {"prompt": "p", "completion": "x", "rating": 3, "annotator": "ann"}
PAIR_ITEM = Item("pair", "Which?", ("one", "two"))
RANKING_ITEM = Item("ranking", [{"role": "user", "content": "Order!"}], ("a", "b", "c"))
RATING_ITEM = Item("rating", "How good?", ("so so",))


def test_comparisons_are_read_with_their_time(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        {**PAIR, "created_at": "2026-11-21T10:00:00+00:00"},
        {**PAIR, "tie": True, "created_at": 12.5},
        {**PAIR, "ranking": ["x", "z", "y"]},
    )
    assert read_judgements(file) == [
        Comparison("ann", "p", ("x", "y"), False, 1795255200.0),
        Comparison("ann", "p", ("x", "y"), True, 12.5),
        Comparison("ann", "p", ("x", "z", "y")),
    ]


def test_ratings_are_read(tmp_path: Path) -> None:
    assert read_judgements(written(tmp_path, RATING)) == [Rating("ann", "p", "x", 3.0)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**PAIR, "annotator": " "}, "'annotator' is empty"),
        ({"prompt": "p", "annotator": "ann"}, "no column 'chosen'"),
        ({**PAIR, "ranking": ["x", "x"]}, "same text twice"),
        ({**PAIR, "ranking": ["x"]}, "two completions or more"),
        ({**PAIR, "created_at": "yesterday"}, "'created_at' must be seconds since 1970"),
        ({**RATING, "rating": "good"}, "'rating' must be a number, got 'good'"),
        ({**RATING, "completion": None}, "column 'completion' must be text, got null"),
    ],
)
def test_a_bad_row_is_named(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    good = RATING if "rating" in row else PAIR
    with pytest.raises(InputError, match=rf"data.jsonl:2: .*{message}"):
        read_judgements(written(tmp_path, good, row))


def test_two_kinds_in_one_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two files"):
        read_judgements(written(tmp_path, PAIR, RATING))


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


def test_a_ranking_at_a_desk_comes_back_best_first(make_desk: Callable[..., Any], posted: Any, store: Store) -> None:
    path = ask(make_desk, posted, store, RANKING_ITEM, ranks=[3, 1, 2])
    first, second, third = (path.parent / "shown.txt").read_text().split("\n")
    [comparison] = read_judgements(path)
    assert isinstance(comparison, Comparison)
    assert comparison.annotator == "ada"
    assert comparison.ranking == (second, third, first)
    assert not comparison.tie
    assert "Order!" in comparison.prompt
    assert comparison.time is not None


def test_ties_at_a_desk_are_pairs(make_desk: Callable[..., Any], posted: Any, store: Store) -> None:
    path = ask(make_desk, posted, store, RANKING_ITEM, ranks=[1, 3, 1])
    first, second, third = (path.parent / "shown.txt").read_text().split("\n")
    found = {(frozenset(one.ranking), one.ranking[0] if not one.tie else "tie") for one in read_judgements(path)}
    assert found == {
        (frozenset({first, third}), "tie"),
        (frozenset({first, second}), first),
        (frozenset({third, second}), third),
    }


def test_ratings_at_a_desk(make_desk: Callable[..., Any], posted: Any, store: Store) -> None:
    [rating] = read_judgements(ask(make_desk, posted, store, RATING_ITEM, rating=6))
    assert isinstance(rating, Rating)
    assert (rating.prompt, rating.completion, rating.value) == ("How good?", "so so", 6.0)


def test_what_cannot_be_judged_at_a_desk_is_named(make_desk: Callable[..., Any], posted: Any, store: Store) -> None:
    with pytest.raises(InputError, match="no database here"):
        read_judgements(store.path.with_name("other.db"))
    desk = make_desk([PAIR_ITEM, RATING_ITEM])
    with pytest.raises(InputError, match="nobody has answered"):
        read_judgements(store.path)
    for _ in range(2):
        desk.save(desk.answer("ada", posted(desk.question("ada"))))
    with pytest.raises(InputError, match="comparisons and ratings"):
        read_judgements(store.path)


def decided(votes: Any) -> set[tuple[str, str, str]]:
    """(rater, better, worse) of every vote that is no tie."""
    found = set()
    for rater, first, second, vote in zip(votes.rater, votes.first, votes.second, votes.vote, strict=True):
        pair = (votes.items[first][1], votes.items[second][1])
        if vote:
            found.add((votes.raters[rater], *(pair if vote > 0 else pair[::-1])))
    return found


def test_a_ranking_and_ratings_give_the_same_votes_in_one_orientation() -> None:
    ranked = tally_votes([Comparison("ann", "p", ("z", "x", "y")), Comparison("bob", "p", ("x", "y"), tie=True)])
    rated = tally_votes([Rating("ann", "p", text, value) for text, value in (("x", 2), ("y", 1), ("z", 9))])
    assert decided(ranked) == decided(rated) == {("ann", "z", "x"), ("ann", "z", "y"), ("ann", "x", "y")}
    assert (ranked.first < ranked.second).all() and (ranked.vote == 0).sum() == 1
    # A ranking of K counts as K - 1 votes.
    assert rated.weight.sum() == pytest.approx(2) and ranked.weight.sum() == pytest.approx(3)
    assert ranked.pair.max() == 2 and (ranked.pair == ranked.pair[-1]).sum() == 2


def test_progress_follows_time_where_it_is_known() -> None:
    late_first = [Comparison("ann", str(i), ("x", "y"), time=10.0 - i) for i in range(4)]
    votes = tally_votes(late_first)
    prompt = np.array([votes.items[item][0] for item in votes.first])
    assert dict(zip(prompt, votes.progress, strict=True)) == {"3": 0.0, "2": 0.25, "1": 0.5, "0": 0.75}


def test_nothing_to_compare_and_a_text_rated_twice_are_named() -> None:
    with pytest.raises(InputError, match="nothing to compare"):
        tally_votes([Rating("ann", "p", "x", 1.0), Rating("bob", "p", "y", 1.0)])
    with pytest.raises(InputError, match="twice"):
        tally_votes([Rating("ann", "p", "x", 1.0), Rating("ann", "p", "x", 2.0)])
