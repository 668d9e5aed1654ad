"""Both orders, labels, and a log that survives: nothing is asked twice, and nothing that was answered is lost."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from textrl_env.errors import InputError
from textrl_env.reward_models import preferences_of
from textrl_env.reward_models.ai_feedback import label_rows, mixed_rows
from textrl_env.reward_models.ai_feedback.constitution import Principle
from textrl_env.reward_models.ai_feedback.judges import JudgeQuestion, JudgeVerdict
from textrl_env.reward_models.ai_feedback.labels import compute_pair_margin, group_by_pair, judge_all, judge_both_orders


def test_swapping_the_replies_changes_the_label_to_its_opposite_exactly(make_judge: Any, make_questions: Any) -> None:
    questions = make_questions(200)
    judge = make_judge(skill=0.3, bias=0.7)
    as_asked = judge_both_orders(judge, questions)
    swapped = judge_both_orders(judge, [question.swapped for question in questions])
    assert [each.margin for each in as_asked] == [-each.margin for each in swapped]
    assert label_rows([[each] for each in as_asked], "j") == label_rows([[each] for each in swapped], "j")
    # Negative control: one order alone does not pass.
    assert any(a.forward != 1 - b.forward for a, b in zip(as_asked, swapped, strict=True))


def test_the_soft_label_is_the_mean_of_both_orders(make_judge: Any) -> None:
    question = JudgeQuestion("p", "aa", "b", Principle("x", "x"))
    (row,) = label_rows([judge_both_orders(make_judge(skill=1.0, bias=2.0), [question])], "j")
    shown_second_first, shown_first_first = 1 / (1 + np.exp(-3)), 1 / (1 + np.exp(-1))
    expected = (shown_second_first + 1 - shown_first_first) / 2
    assert row["chosen"] == "b" and row["rejected"] == "aa"
    assert row["soft_label"] == pytest.approx(expected, abs=1e-12)
    assert (row["annotator"], row["principle"]) == ("j", "x")
    assert preferences_of([row])[0].probability == row["soft_label"]


def test_a_judge_that_sees_only_the_place_prefers_nothing(make_judge: Any, make_questions: Any) -> None:
    judgements = judge_both_orders(make_judge(skill=0.0, bias=3.0), make_questions(20))
    assert {each.margin for each in judgements} == {0.0}
    assert label_rows([[each] for each in judgements], "j") == []


def test_several_principles_of_a_pair_give_their_mean() -> None:
    questions = [JudgeQuestion("p", "a", "b", Principle(name, name)) for name in ("x", "y", "z")]
    pair = [JudgeVerdict(q, f, b) for q, f, b in zip(questions, (1.0, 0.2, 0.9), (0.0, 0.6, float("nan")), strict=True)]
    (row,) = label_rows(group_by_pair(pair, 3), "j")
    # An unclear answer counts 1/2.
    assert row["soft_label"] == pytest.approx(0.5 + (0.5 - 0.2 + 0.2) / 3)
    assert (row["chosen"], row["principle"]) == ("a", "x+y+z")


def test_principles_that_cancel_out_are_a_tie() -> None:
    """0.1 + 0.2 - 0.1 - 0.2 is not 0 in floating point."""
    questions = [JudgeQuestion("p", "a", "b", Principle(name, name)) for name in "wxyz"]
    pair = [JudgeVerdict(q, 0.5 + m, 0.5 - m) for q, m in zip(questions, (0.1, 0.2, -0.1, -0.2), strict=True)]
    margins = [each.margin for each in pair]
    assert sum(margins) != 0 == compute_pair_margin(pair) and label_rows([pair], "j") == []


def test_conversations_keep_their_form() -> None:
    prompt = [{"role": "user", "content": "hi"}]
    (row,) = label_rows([[JudgeVerdict(JudgeQuestion(prompt, "a", "b", Principle("x", "x")), 0.9, 0.1)]], "j")
    assert row["prompt"] == prompt and row["chosen"] == [{"role": "assistant", "content": "a"}]


def test_the_log_says_what_decided_each_label(make_judge: Any, make_questions: Any, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    judgements = judge_all(make_questions(9), make_judge(bias=0.5), log)
    assert judgements is not None
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) == 9
    for line, each in zip(lines, judgements, strict=True):
        assert (line["forward"], line["backward"]) == (each.forward, each.backward)
        question = each.question
        assert (line["prompt"], line["first"], line["second"]) == (question.prompt, question.first, question.second)
        assert (line["annotator"], line["principle"]) == ("planted", "short")
        assert line["principle_text"] == "A good reply is short."
        assert line["created_at"].endswith("+00:00")


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("stopped_by", ["error", "interrupt", "kill"])
def test_a_rerun_asks_only_the_rest_and_ends_with_the_same_labels(
    make_judge: Any, make_questions: Any, tmp_path: Path, workers: int, stopped_by: str
) -> None:
    questions = make_questions(40)
    whole = judge_all(questions, make_judge(bias=0.5), tmp_path / "whole.jsonl")
    log, first = tmp_path / "log.jsonl", make_judge(bias=0.5, workers=workers)
    if stopped_by == "error":
        first.fails_at = 40
        with pytest.raises(RuntimeError, match="broke down"):
            judge_all(questions, first, log)
    else:
        assert judge_all(questions, first, log, should_stop=lambda: len(first.asked) >= 40) is None
    kept = log.read_text().splitlines(keepends=True)
    assert 4 <= len(kept) < 40
    if stopped_by == "kill":
        log.write_text("".join(kept[:-1]) + kept[-1][:25])
        kept = kept[:-1]
    second = make_judge(bias=0.5, workers=workers)
    rest = judge_all(questions, second, log)
    assert rest is not None and whole is not None
    assert len(second.asked) == 2 * (40 - len(kept))
    assert label_rows([[each] for each in rest], "j") == label_rows([[each] for each in whole], "j")
    assert len(log.read_text().splitlines()) == 40
    third = make_judge(bias=0.5)
    judge_all(questions, third, log)
    assert not third.asked


def test_answers_of_another_judge_or_under_other_words_do_not_count(
    make_judge: Any, make_questions: Any, tmp_path: Path
) -> None:
    questions, log = make_questions(5), tmp_path / "log.jsonl"
    judge_all(questions, make_judge(bias=0.5), log)
    other = make_judge(bias=0.6)
    judge_all(questions, other, log)
    assert len(other.asked) == 10
    reworded = [JudgeQuestion(q.prompt, q.first, q.second, Principle("short", "Shorter is better.")) for q in questions]
    judge = make_judge(bias=0.5)
    judge_all([*questions, *reworded, *reworded], judge, log)
    assert len(judge.asked) == 10


def test_workers_answer_at_the_same_time(make_judge: Any, make_questions: Any, tmp_path: Path) -> None:
    meeting = threading.Barrier(3, timeout=20)

    class Meeting(type(make_judge())):  # type: ignore[misc]
        def prefers_first(self, questions: Any) -> Any:
            meeting.wait()
            return super().prefers_first(questions)

    assert judge_all(make_questions(12), Meeting(workers=3), tmp_path / "log.jsonl") is not None


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"key": "k", "forward": 1.5, "backward": 0}', "'forward' must be a probability or null, got 1.5"),
        ('{"key": "k", "forward": 0.5}', "'backward' must be a probability or null, got ''"),
        ('{"key": 1, "forward": 0.5, "backward": 0.5}', "'key' must be text"),
        ("nonsense", "not JSON"),
    ],
)
def test_a_damaged_log_is_named_and_left(
    line: str, fault: str, make_judge: Any, make_questions: Any, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    judge_all(make_questions(2), make_judge(), log)
    log.write_text(log.read_text() + line + "\n")
    before, judge = log.read_bytes(), make_judge()
    with pytest.raises(InputError) as error:
        judge_all(make_questions(3), judge, log)
    assert str(error.value).startswith(f"{log}:3: {fault}")
    assert log.read_bytes() == before and not judge.asked


def test_weights_of_people_and_judge_multiply_a_rows_own() -> None:
    human = [
        {"prompt": "p", "chosen": "a", "rejected": "b"},
        {"prompt": "p", "chosen": "a", "rejected": "c", "weight": 0.5},
    ]
    rows = mixed_rows(human, [{"prompt": "q", "chosen": "x", "rejected": "y"}], human_weight=2.0, ai_weight=0.25)
    assert [row["weight"] for row in rows] == [2.0, 1.0, 0.25]
    assert "weight" not in human[0]
    with pytest.raises(InputError, match="ai_weight must be at least 0, got -1"):
        mixed_rows(human, [], human_weight=1, ai_weight=-1)
    with pytest.raises(InputError, match="'weight' must be a number of 0 or more, got 'heavy'"):
        mixed_rows([{**human[0], "weight": "heavy"}], [], human_weight=1, ai_weight=1)


def test_the_questions_about_a_pair_stand_together(make_questions: Callable[..., list[JudgeQuestion]]) -> None:
    judgements = [JudgeVerdict(question, 0.5, 0.5) for question in make_questions(6)]
    assert group_by_pair(judgements, 3) == [judgements[:3], judgements[3:]]
