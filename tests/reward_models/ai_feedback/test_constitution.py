"""A constitution is a file of principles of unknown origin: checked row by row, and nothing in it is run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from textrl_env.errors import InputError
from textrl_env.reward_models.ai_feedback import read_constitution, support_desk_constitution
from textrl_env.reward_models.ai_feedback.rules import RULES, Honest, register_rule


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_every_column_is_read(tmp_path: Path) -> None:
    path = write(
        tmp_path / "c.jsonl",
        {"principle": " Be kind. "},
        {"principle": "Be true.", "id": "true", "weight": 3, "rule": "desk_honest"},
    )
    first, second = read_constitution(path).principles
    assert (first.id, first.text, first.weight, first.rule) == ("principle-1", "Be kind.", 1.0, None)
    assert (second.id, second.text, second.weight, second.rule) == ("true", "Be true.", 3.0, "desk_honest")


def test_a_line_of_a_text_file_and_a_row_of_a_table_are_principles(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("Be kind.\n\nBe {principle} brief %s.\n")
    assert [p.text for p in read_constitution(tmp_path / "c.txt").principles] == [
        "Be kind.",
        "Be {principle} brief %s.",
    ]
    (tmp_path / "c.csv").write_text("id,principle,weight,rule\nkind,Be kind.,0.5,\nbrief,Be brief.,2,desk_concise\n")
    kind, brief = read_constitution(tmp_path / "c.csv").principles
    assert (kind.weight, kind.rule, brief.weight, brief.rule) == (0.5, None, 2.0, "desk_concise")


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"principle": ""}, "column 'principle' is empty"),
        ({"principle": ["a"]}, "column 'principle' must be text, got list"),
        ({"text": "Be kind."}, "no column 'principle' (found: 'text')"),
        ({"principle": "x" * 2001}, "'principle' has 2001 characters, at most 2000 fit"),
        ({"principle": "x", "wieght": 2}, "no column is called 'wieght'; expected 'id', 'principle', 'weight', 'rule'"),
        ({"principle": "x", "weight": 0}, "'weight' must be a number above 0, got 0"),
        ({"principle": "x", "weight": True}, "'weight' must be a number above 0, got True"),
        ('{"principle": "x", "weight": NaN}', "not usable JSON: NaN is no JSON"),
        ('{"principle": "x", "weight": 1e999}', "'weight' must be a number above 0, got inf"),
        ({"principle": "x", "id": "../up"}, "'id' must be 1 to 60 letters, digits"),
        ({"principle": "x", "id": "[red]"}, "'id' must be 1 to 60 letters, digits"),
        ({"principle": "x", "id": "kind"}, "'id' 'kind' is there twice"),
        ({"principle": "x", "rule": "os.system"}, "'rule' must be one of desk_concise, "),
        ({"principle": "x", "rule": ["desk_polite"]}, "'rule' must be one of desk_concise, "),
        ('{"principle": "x"', "not JSON"),
        ("[1]", "expected an object"),
    ],
)
def test_a_bad_principle_is_named_by_its_line(row: Any, fault: str, tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", {"principle": "Be kind.", "id": "kind"}, row)
    with pytest.raises(InputError) as error:
        read_constitution(path)
    assert str(error.value).startswith(f"{path}:2: {fault}")


def test_principles_are_drawn_by_their_weights_and_never_twice_for_a_pair(tmp_path: Path) -> None:
    weights = {"a": 6, "b": 3, "c": 1}
    rows = ({"principle": name, "id": name, "weight": weight} for name, weight in weights.items())
    constitution = read_constitution(write(tmp_path / "c.jsonl", *rows))
    drawn = [row[0].id for row in constitution.draw(5000, np.random.default_rng(0))]
    shares = [drawn.count(name) / 5000 for name in "abc"]
    assert np.abs(np.array(shares) - [0.6, 0.3, 0.1]).max() < 0.02
    assert all(len({p.id for p in row}) == 3 for row in constitution.draw(50, np.random.default_rng(0), each=3))
    with pytest.raises(InputError, match="3 principles to draw from, got each=4"):
        constitution.draw(1, np.random.default_rng(0), each=4)


def test_more_comparisons_leave_the_draws_of_the_first_ones(tmp_path: Path) -> None:
    """So a longer run asks again what a shorter one asked, and finds the answers in its log."""
    constitution = support_desk_constitution()
    few, many = (constitution.draw(n, np.random.default_rng(7), each=2) for n in (10, 30))
    assert many[:10] == few


def test_a_rule_is_registered_in_code_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textrl_env.reward_models.ai_feedback.rules.RULES", RULES)
    path = write(tmp_path / "c.jsonl", {"principle": "x", "rule": "mine"})
    with pytest.raises(InputError, match="'rule' must be one of"):
        read_constitution(path)
    register_rule("mine", Honest())
    try:
        assert read_constitution(path).principles[0].rule == "mine"
        with pytest.raises(InputError, match="there is a rule 'mine' already"):
            register_rule("mine", Honest())
    finally:
        del RULES["mine"]


def test_the_support_desks_principles_all_have_rules() -> None:
    principles = support_desk_constitution().principles
    assert [principle.id for principle in principles] == ["helpful", "polite", "harmless", "honest", "concise"]
    assert all(principle.rule in RULES for principle in principles)
