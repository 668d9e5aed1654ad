"""Preferences as the data sets for TRL have them, and optional cells that mean the same in every format."""

import csv
import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from textrl_env import InputError
from textrl_env.agents.offline.rows import read_demonstration, read_pair, read_verdict
from textrl_env.reward_models import Preference, preferences_of, read_preferences
from textrl_env.reward_models.training_rows import training_rows_of

USER = [{"role": "user", "content": "Where is the pool?"}]


def say(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


FORMS: list[dict[str, Any]] = [
    {"prompt": USER, "chosen": say("Here."), "rejected": say("Who knows.")},
    {"chosen": USER + say("Here."), "rejected": USER + say("Who knows.")},
    {"prompt": "Where is the pool?", "chosen": USER + say("Here."), "rejected": USER + say("Who knows.")},
    {"prompt": USER, "chosen": USER + say("Here."), "rejected": USER + say("Who knows.")},
    {"prompt": USER, "chosen": "Here.", "rejected": "Who knows."},
    {"prompt": USER, "ranking": [{"value": say("Who knows."), "rank": 2}, {"value": say("Here."), "rank": 1}]},
]


@pytest.mark.parametrize("row", FORMS)
def test_every_form_of_a_conversation_is_one_preference(row: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text(json.dumps(row) + "\n")
    for preference in (*read_preferences(tmp_path / "p.jsonl"), *preferences_of([row])):
        assert list(preference.prompt) == USER and preference.ranking == ("Here.", "Who knows.")
        assert preference.prompt == USER and len({preference.prompt, FORMS[0]["prompt"][0]["content"]}) == 2
    if "ranking" not in row:
        assert read_pair(row).completions == ("Here.", "Who knows.")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"prompt": "Pool?", "chosen": say("a"), "rejected": say("b")},
            "'prompt' is a text that ",
        ),
        (
            {"prompt": USER, "chosen": say("a") + USER + say("b"), "rejected": say("b")},
            "3 messages after",
        ),
        ({"prompt": USER, "chosen": say("a"), "rejected": "b"}, "some are texts and some lists of messages"),
        (
            {"prompt": USER, "chosen": USER + USER, "rejected": USER + say("b")},
            "must end with",
        ),
        ({"chosen": say("a"), "rejected": say("b")}, "without a prompt"),
        ({"prompt": USER, "chosen": [], "rejected": say("b")}, "column 'chosen' is empty"),
    ],
)
def test_what_is_no_conversation_of_ours_is_named(row: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"preference 1: .*{message}"):
        preferences_of([FORMS[0], row])


def test_demonstrations_and_verdicts_may_be_conversations() -> None:
    whole = read_demonstration({"messages": USER + say("Here.")})
    apart = read_demonstration({"prompt": USER, "completion": say("Here.")})
    assert whole == apart and whole.completions == ("Here.",) and list(whole.prompt) == USER  # type: ignore[arg-type]
    assert read_demonstration({"messages": json.dumps(USER + say("Here."))}) == whole
    assert read_verdict({"prompt": USER, "completion": say("Here."), "label": "yes"}).label == 1.0


OPTIONAL: list[tuple[str, Any, dict[str, Any]]] = [
    ("tie", True, {"probability": 0.5}),
    ("tie", False, {}),
    ("soft_label", 0.8, {"probability": 0.8}),
    ("margin", 0.5, {"margin": 0.5}),
    ("weight", 2, {"weight": 2.0}),
    ("ranking", ["yes", "well", "no"], {"ranking": ("yes", "well", "no")}),
]


@pytest.mark.parametrize(("column", "value", "expected"), OPTIONAL)
def test_a_typed_cell_means_the_same_in_csv_and_json(column: str, value: Any, expected: Any, tmp_path: Path) -> None:
    base = {"prompt": "Open?", "chosen": "yes", "rejected": "no"}
    plain = Preference("Open?", ("yes", "no"))
    spellings = [str(value), json.dumps(value)] if not isinstance(value, list) else [json.dumps(value)]
    for cell in [*spellings, ""]:
        with (tmp_path / "t.csv").open("w", newline="") as file:
            csv.writer(file).writerows([[*base, column], [*base.values(), cell]])
        (tmp_path / "t.jsonl").write_text(json.dumps({**base, column: value if cell else None}) + "\n")
        want = {**vars(plain), **(expected if cell else {}), "where": ""}
        for name in ("t.csv", "t.jsonl"):
            (preference,) = read_preferences(tmp_path / name)
            assert {**vars(preference), "where": ""} == want, (name, cell)


def test_rows_that_nobody_submitted_are_left_out_and_counted(tmp_path: Path) -> None:
    base = {"prompt": "Open?", "chosen": "yes", "rejected": "no"}
    states = ["submitted", "discarded", "Draft", "discarded", "paid", None]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({**base, "status": state}) + "\n" for state in states))
    with pytest.warns(UserWarning, match=r"left out 3 rows that nobody submitted \(2 discarded, 1 draft\)"):
        assert [row.where[-1] for row in read_preferences(tmp_path / "t.jsonl")] == ["1", "5", "6"]


def test_ranks_may_be_tied() -> None:
    row = {"prompt": "p", "ranking": [{"value": text, "rank": rank} for text, rank in (("c", 2), ("a", 1), ("b", 1))]}
    (preference,) = preferences_of([row])
    assert preference.ranking == ("a", "b", "c") and preference.pair_probabilities == (0.5, 1.0, 1.0)


def test_rows_in_memory_can_be_skipped_and_counted() -> None:
    rows = [{"prompt": "p", "chosen": "a", "rejected": "b"}, {"prompt": "p", "completion": "a", "rating": None}, None]
    with pytest.raises(InputError, match="2 bad rows of 3"):
        training_rows_of(rows)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="skipped 2 bad rows of 3; first: row 1: no column 'chosen'"):
        assert len(training_rows_of(rows, on_bad_row="skip")) == 1  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert training_rows_of(rows[:1]) == training_rows_of(training_rows_of(rows[:1]))
