"""Ratings are read like preferences, and a file says by its columns which of the two it holds."""

import json
from pathlib import Path
from typing import Any

import pytest

from textrl_env import InputError
from textrl_env.reward_models import Preference, RatedCompletion, completions_of, read_training_rows
from textrl_env.reward_models.training_rows import rated_completions_of, read_rated_completions

RATING = {"prompt": "p", "completion": "a", "rating": 5}
PAIR = {"prompt": "p", "chosen": "a", "rejected": "b"}


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_columns_beside_the_rating_are_optional(tmp_path: Path) -> None:
    rows = [RATING | {"weight": 0.5, "annotator": "x"}, {"completion": "", "rating": -1.5}]
    path = written(tmp_path, *rows)
    read = read_rated_completions(path)
    assert read == [RatedCompletion("p", "a", 5.0, 0.5, f"{path}:1"), RatedCompletion("", "", -1.5, 1.0, f"{path}:2")]
    given = rated_completions_of(rows)
    assert [vars(row) | {"where": ""} for row in given] == [vars(row) | {"where": ""} for row in read]
    assert completions_of(read[0]) == ("a",)


def test_a_file_of_ratings_and_one_of_preferences_are_told_apart(tmp_path: Path) -> None:
    assert isinstance(read_training_rows(written(tmp_path, RATING))[0], RatedCompletion)
    (preference,) = read_training_rows(written(tmp_path, PAIR))
    assert isinstance(preference, Preference) and completions_of(preference) == ("a", "b")
    table = tmp_path / "table.csv"
    table.write_text("completion,rating\nsome text,3\n")
    assert read_training_rows(table) == [RatedCompletion("", "some text", 3.0, 1.0, f"{table}:2")]
    with pytest.warns(UserWarning, match=r"skipped 1 bad rows of 2; first: .*:1: not JSON"):
        assert isinstance(read_training_rows(written(tmp_path, "{", RATING), on_bad_row="skip")[0], RatedCompletion)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (RATING | {"rating": "good"}, "'rating' must be a number, got 'good'"),
        (RATING | {"rating": None}, "'rating' must be a number, got None"),
        (RATING | {"rating": "nan"}, "'rating' must be a number, got 'nan'"),
        (RATING | {"weight": -2}, "'weight' must be a number of 0 or more, got -2"),
        (RATING | {"completion": None}, "'completion' must be text, got null"),
        (RATING | {"prompt": 3}, "'prompt' must be text, got int"),
        (PAIR, "no column 'completion' .found: 'prompt', 'chosen', 'rejected'"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_training_rows(written(tmp_path, RATING, row))
    assert "rows.jsonl:2" in str(caught.value)
    with pytest.raises(InputError, match=r"rating 1: .*"):
        rated_completions_of([RATING, row])
