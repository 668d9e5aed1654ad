"""Judgements from files, and the votes that they contain."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.raters import Comparison, read_judgements, tally_votes
from textrl_env.reward_models.feedback.raters.comparisons import Rating


def written(path: Path, *rows: dict[str, Any]) -> Path:
    file = path / "data.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


PAIR = {"prompt": "p", "chosen": "x", "rejected": "y", "annotator": "ann"}
RATING = {"prompt": "p", "completion": "x", "rating": 3, "annotator": "ann"}


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
        ({"prompt": "p", "annotator": "ann"}, "expected texts in 'chosen' and 'rejected'"),
        ({**PAIR, "ranking": ["x", "x"]}, "same text twice"),
        ({**PAIR, "ranking": ["x"]}, "two completions or more"),
        ({**PAIR, "created_at": "yesterday"}, "'created_at' must be seconds since 1970"),
        ({**RATING, "rating": "good"}, "'rating' must be a number, got 'good'"),
        ({**RATING, "completion": None}, "needs a text in 'completion'"),
    ],
)
def test_a_bad_row_is_named(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    good = RATING if "rating" in row else PAIR
    with pytest.raises(InputError, match=rf"data.jsonl:2: .*{message}"):
        read_judgements(written(tmp_path, good, row))


def test_two_kinds_in_one_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two files"):
        read_judgements(written(tmp_path, PAIR, RATING))


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
