"""A judge's agreement with people and its position bias, held against scikit-learn and judges of known habits."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from textrl_env.errors import InputError
from textrl_env.reward_models.ai_feedback import read_human_pairs
from textrl_env.reward_models.ai_feedback.judge_report import (
    JudgeReport,
    accuracy,
    agreement_by_slice,
    kappa,
    position_bias,
)
from textrl_env.reward_models.ai_feedback.judges import JudgeVerdict
from textrl_env.reward_models.ai_feedback.labels import judge_both_orders


def test_a_planted_position_bias_is_found(make_judge: Any, make_questions: Any) -> None:
    rng = np.random.default_rng(0)
    fair, biased = (
        position_bias(judge_both_orders(make_judge(skill=1.0, bias=bias), make_questions(300)), rng=rng)
        for bias in (0.0, 2.0)
    )
    assert fair.first.value == pytest.approx(0.5, abs=1e-12) and fair.flipped.value == 0
    assert biased.first.low > 0.55 and biased.first.low < biased.first.value < biased.first.high
    # The place wins where the replies differ by less than two letters: known exactly.
    close = [abs(len(q.first) - len(q.second)) < 2 for q in make_questions(300)]
    assert biased.flipped.value == pytest.approx(np.mean(close)) and biased.n == 300
    last = position_bias(judge_both_orders(make_judge(skill=0.0, bias=-1.0), make_questions(50)), rng=rng)
    assert last.first.value == pytest.approx(1 / (1 + np.e)) and last.flipped.value == 1


def test_unclear_answers_are_counted_and_left_out(make_questions: Any) -> None:
    nan = float("nan")
    question = make_questions(1)[0]
    rng = np.random.default_rng(0)
    bias = position_bias(
        [JudgeVerdict(question, nan, 0.9), JudgeVerdict(question, 0.8, 0.4), JudgeVerdict(question, nan, nan)], rng=rng
    )
    assert (bias.n, bias.n_unclear, bias.first.value) == (1, 2, pytest.approx(0.6))
    none = position_bias([JudgeVerdict(question, nan, nan)], rng=rng)
    assert JudgeReport("j", none).as_dict()["bias"]["first"] == {"value": None, "low": None, "high": None}


def test_kappa_is_scikit_learns_on_both_orders() -> None:
    rng = np.random.default_rng(0)
    judge, human = rng.choice([-1.0, 0.0, 1.0], size=(2, 400), p=[0.5, 0.1, 0.4])
    human = np.where(rng.random(400) < 0.5, judge, human)
    both = np.concatenate([judge, -judge]), np.concatenate([human, -human])
    assert kappa(judge, human) == pytest.approx(cohen_kappa_score(*both))
    flips = rng.choice([-1.0, 1.0], size=400)
    assert kappa(judge * flips, human * flips) == kappa(judge, human)
    assert accuracy(judge * flips, human * flips) == accuracy(judge, human)
    without_ties = np.where(judge == 0, 1, judge), np.where(human == 0, 1, human)
    assert kappa(*without_ties) == pytest.approx(2 * accuracy(*without_ties) - 1)


def test_a_slice_on_which_the_judge_is_wrong_stands_out() -> None:
    rng = np.random.default_rng(0)
    human = rng.choice([-1.0, 1.0], size=200)
    topics = ["money" if number % 2 else "shipping" for number in range(200)]
    judge = np.where([topic == "money" for topic in topics], -human, human) * 0.3
    rows = agreement_by_slice(judge, human, range(200), {"topic": topics}, rng=rng, resamples=100)
    assert [(row.column, row.value, row.n, row.accuracy.value, row.kappa.value) for row in rows] == [
        ("all", "", 200, 0.5, 0.0),
        ("topic", "money", 100, 0.0, -1.0),
        ("topic", "shipping", 100, 1.0, 1.0),
    ]
    assert rows[0].accuracy.low < 0.5 < rows[0].accuracy.high
    with pytest.raises(InputError, match="one pair at least"):
        agreement_by_slice(judge[:0], human[:0], [], {}, rng=rng)


def test_the_interval_widens_when_pairs_share_a_prompt() -> None:
    """100 prompts with 8 equal pairs each are worth 100 pairs."""
    rng = np.random.default_rng(0)
    human = np.ones(800)
    judge = np.repeat(rng.choice([-1.0, 1.0], size=100), 8)
    together, apart = (
        agreement_by_slice(judge, human, prompts, {}, rng=rng, resamples=400)[0].accuracy
        for prompts in (np.repeat(np.arange(100), 8), range(800))
    )
    assert (together.high - together.low) > 2 * (apart.high - apart.low)


def test_peoples_rows_become_pairs_whose_order_tells_nothing(tmp_path: Path) -> None:
    rows = [
        {"prompt": "p", "chosen": "b", "rejected": "a", "topic": "x", "weight": 2},
        {"prompt": "p", "chosen": "a", "rejected": "c", "topic": "y"},
        {"prompt": "q", "chosen": "c", "rejected": "a", "ranking": ["c", "b", "a"], "topic": "x"},
        {"prompt": "q", "chosen": "a", "rejected": "b", "tie": True, "topic": "x"},
        {"prompt": "q", "chosen": "a", "rejected": "b", "soft_label": 0.6, "topic": "x"},
    ]
    path = tmp_path / "h.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = read_human_pairs(path, columns=["topic"])
    assert [item.completions for item in pairs.items] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
        ("a", "c"),
        ("a", "b"),
        ("a", "b"),
        ("a", "b"),
    ]
    assert pairs.signs == (-1, 1, -1, -1, -1, 0, 1)
    assert pairs.columns == {"topic": ("x", "y", "x", "x", "x", "x", "x")} and list(pairs.rows) == rows


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"prompt": "p", "chosen": "a", "rejected": "b"}, "no column 'topic' to slice by"),
        ({"prompt": "p", "chosen": "a", "rejected": "a", "topic": 1}, "'chosen' and 'rejected' are the same text"),
        (
            {"prompt": "p", "chosen": "a", "rejected": "b", "topic": 1, "weight": -1},
            "'weight' must be a number",
        ),
        ({"prompt": "p", "chosen": "a", "rejected": "b", "topic": 1, "where": "x", "tie": 3}, "'tie' must be true"),
    ],
)
def test_a_bad_row_of_people_is_named(row: dict[str, Any], fault: str, tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(InputError) as error:
        read_human_pairs(path, columns=["topic"])
    assert str(error.value).startswith(f"{path}:1: {fault}")
