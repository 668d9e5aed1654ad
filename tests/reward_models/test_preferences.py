"""Preference files: TRL's columns, rankings and soft labels, and every fault named."""

import json
from pathlib import Path
from typing import Any

import pytest

from textrl_env import InputError
from textrl_env.reward_models import Preference, preferences_of, read_preferences, write_preferences


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "preferences.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


PAIR = {"prompt": "p", "chosen": "a", "rejected": "b"}


def test_columns_of_trl_are_read_and_others_ignored(tmp_path: Path) -> None:
    rows = [PAIR | {"annotator": "x", "created_at": 3}, {"chosen": "whole text", "rejected": "other"}]
    first, second = read_preferences(written(tmp_path, *rows))
    assert (first.prompt, first.ranking, first.pair_probabilities) == ("p", ("a", "b"), (1.0,))
    assert (second.prompt, second.ranking) == ("", ("whole text", "other"))
    assert first.where.endswith(":1") and second.where.endswith(":2")


def test_a_completion_may_be_empty(tmp_path: Path) -> None:
    (read,) = read_preferences(written(tmp_path, PAIR | {"rejected": ""}))
    assert read.ranking == ("a", "")


def test_rankings_ties_and_soft_labels(tmp_path: Path) -> None:
    rows = [
        PAIR | {"ranking": ["a", "c", "b"]},
        PAIR | {"tie": True},
        PAIR | {"soft_label": 0.75},
        PAIR | {"tie": False},
    ]
    ranking, tie, soft, plain = read_preferences(written(tmp_path, *rows))
    assert ranking.ranking == ("a", "c", "b") and ranking.pair_probabilities == (1.0, 1.0, 1.0)
    assert [p.pair_probabilities for p in (tie, soft, plain)] == [(0.5,), (0.75,), (1.0,)]


def test_margins_and_weights_are_numbers_and_null_is_none(tmp_path: Path) -> None:
    rows = [PAIR | {"margin": 0.5, "weight": 2}, PAIR | {"margin": None, "weight": None}, PAIR | {"weight": 0}]
    both, none, light = read_preferences(written(tmp_path, *rows))
    assert [(p.margin, p.weight) for p in (both, none, light)] == [(0.5, 2.0), (0.0, 1.0), (0.0, 0.0)]
    table = tmp_path / "table.csv"
    table.write_text("prompt,chosen,rejected,margin,weight\np,a,b,0.25,3\n")
    (read,) = read_preferences(table)
    assert (read.margin, read.weight) == (0.25, 3.0)


def test_faults_in_a_ranking_can_be_skipped_like_any_other(tmp_path: Path) -> None:
    path = written(tmp_path, PAIR | {"ranking": ["a"]}, PAIR, PAIR | {"rejected": "a"}, PAIR | {"soft_label": 2})
    with pytest.warns(UserWarning, match=r"skipped 3 bad rows of 4; first: .*:1: 'ranking' must hold two"):
        assert len(read_preferences(path, on_bad_row="skip")) == 1


def test_written_rows_come_back(tmp_path: Path) -> None:
    rows = [PAIR | {"ranking": ["a\nü🙂", "c", "b"]}, PAIR | {"soft_label": 0.9}]
    path = write_preferences(tmp_path / "deep" / "x.jsonl", rows)
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == rows
    read = [(p.prompt, p.ranking, p.probability) for p in read_preferences(path)]
    assert read == [(p.prompt, p.ranking, p.probability) for p in preferences_of(rows)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ranking": ["a"]}, "two completions or more, got 1"),
        ({"ranking": "ab"}, "'ranking' must be a list, got 'ab'"),
        ({"ranking": ["a", None]}, "item 2 of 'ranking' must be text, got null"),
        ({"ranking": ["b", "a"]}, "'ranking' has 'rejected' before 'chosen'"),
        ({"soft_label": 0.4}, r"soft_label.*\[0.5, 1\], got 0.4"),
        ({"soft_label": "often"}, "soft_label"),
        ({"soft_label": float("nan")}, "NaN is no JSON"),
        ({"soft_label": 0.9, "tie": True}, "'tie' is true, but 'soft_label' is 0.9"),
        ({"soft_label": 0.7, "ranking": ["a", "b", "c"]}, "speak of a pair, this row ranks 3"),
        ({"tie": True, "ranking": ["a", "b", "c"]}, "speak of a pair"),
        ({"tie": "perhaps"}, "'tie' must be true or false, got 'perhaps'"),
        ({"chosen": None}, "'chosen' must be text, got null"),
        ({"prompt": 3}, "'prompt' must be text, got int"),
        ({"soft_labels": [0.5, 0.5], "ranking": ["a", "b", "c"]}, "3 numbers"),
        ({"margin": "far"}, "'margin' must be a number, got 'far'"),
        ({"margin": True}, "'margin' must be a number, got True"),
        ({"margin": 1.0, "ranking": ["a", "b", "c"]}, "'margin' speaks of a pair, this row ranks 3"),
        ({"weight": -1}, "'weight' must be a number of 0 or more, got -1"),
        ({"weight": float("inf")}, "Infinity is no JSON"),
        ({"weight": "inf"}, "'weight' must be a number of 0 or more, got 'inf'"),
        ({"weight": [1]}, "'weight' must be a number"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = written(tmp_path, PAIR, PAIR | change)
    with pytest.raises(InputError, match=message) as caught:
        read_preferences(path)
    assert "preferences.jsonl:2" in str(caught.value)


def test_a_missing_column_names_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"preferences.jsonl:1: no column 'rejected' \(found: 'prompt', 'chosen'\)"):
        read_preferences(written(tmp_path, {"prompt": "p", "chosen": "a"}))


def test_every_pair_of_a_ranking_has_its_probability() -> None:
    labels = (0.6, 0.7, 0.8)
    assert Preference("", ("a", "b", "c"), probabilities=labels).pair_probabilities == labels
    assert Preference("", ("a", "b", "c", "d")).pair_probabilities == (1.0,) * 6
