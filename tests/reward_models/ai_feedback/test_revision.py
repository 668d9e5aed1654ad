"""Critique and revision: a language model's and the rules', in rounds, kept and resumed."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from textrl_env.reward_models import preferences_of
from textrl_env.reward_models.ai_feedback import (
    demonstration_rows,
    preference_rows,
    revise_all,
    support_desk_constitution,
)
from textrl_env.reward_models.ai_feedback.constitution import Principle
from textrl_env.reward_models.ai_feedback.judges import Draft, LanguageModelReviser, RuleJudge
from textrl_env.reward_models.ai_feedback.judges.requests import ModelRequest
from textrl_env.reward_models.ai_feedback.revision import RevisionHistory
from textrl_env.worlds import support_desk

KIND, SHORT = Principle("kind", "Be kind."), Principle("short", "Be short.")


def scripted(*answers: str) -> tuple[LanguageModelReviser, list[ModelRequest]]:
    """Writes the answers in turn, and the requests it was given."""
    asked: list[ModelRequest] = []

    def write(requests: Sequence[ModelRequest]) -> list[str]:
        start = len(asked)
        asked.extend(requests)
        return list(answers[start : len(asked)])

    return LanguageModelReviser(write, "model", "model-1", batch_size=2), asked


def test_the_critique_is_part_of_what_the_revision_is_asked_with() -> None:
    reviser, asked = scripted(" It is curt. ", "Hello there.\n")
    (made,) = reviser.revise([Draft("p {x}", "\n Go.", KIND)])
    assert (made.critique, made.text) == ("It is curt.", "\n Hello there.")
    assert all(part in asked[0].text for part in ("Be kind.", "p {x}", "Go.")) and "It is curt." in asked[1].text
    assert asked[0].plain.endswith("\n\nCritique:") and asked[1].plain.endswith("\n\nNew reply:")


def test_a_fence_round_the_answer_goes_and_no_answer_leaves_the_draft() -> None:
    reviser, _ = scripted("c", "c", "```\nHello.\n```", "  ")
    first, second = reviser.revise([Draft("p", " a", KIND), Draft("q", " b", KIND)])
    assert (first.text, second.text) == (" Hello.", " b")


def test_each_round_revises_what_the_one_before_wrote(tmp_path: Path) -> None:
    reviser, asked = scripted("c1", "better", "c2", "best")
    (each,) = revise_all(["p"], [" bad"], [[KIND, SHORT]], reviser, log=tmp_path / "log.jsonl") or []
    assert [draft.completion for draft in each.drafts] == [" bad", " better"] and each.text == " best"
    assert "Be short." in asked[2].text and "better" in asked[2].text
    (row,) = preference_rows([each], "model")
    assert (row["prompt"], row["chosen"], row["rejected"]) == ("p", " best", " bad")
    assert (row["annotator"], row["principles"], row["critiques"]) == ("model", ["kind", "short"], ["c1", "c2"])
    assert preferences_of([row])[0].ranking == (" best", " bad")
    assert demonstration_rows([each], "model")[0]["completion"] == " best"
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["principle"], line["completion"], line["revision"]) for line in lines] == [
        ("kind", " bad", " better"),
        ("short", " better", " best"),
    ]


def test_a_rerun_goes_on_where_it_was(tmp_path: Path) -> None:
    args: tuple[Any, ...] = (["p", "q", "r"], ["1", "2", "3"], [[KIND, SHORT]] * 3)
    words = [f"w{n}" for n in range(12)]

    def reviser(limit: int = 99) -> tuple[LanguageModelReviser, Callable[[], bool], list[str]]:
        asked: list[str] = []

        def write(requests: Sequence[ModelRequest]) -> list[str]:
            asked.extend(request.text for request in requests)
            return [f"w{sum(map(ord, request.text)) % 97}" for request in requests]

        return LanguageModelReviser(write, "m", "m", batch_size=2), lambda: len(asked) >= limit, asked

    model, _, everything = reviser()
    whole = revise_all(*args, model, log=tmp_path / "whole.jsonl")
    stopped, stop, _ = reviser(limit=8)
    assert revise_all(*args, stopped, log=tmp_path / "log.jsonl", should_stop=stop) is None
    again, _, rest = reviser()
    assert revise_all(*args, again, log=tmp_path / "log.jsonl") == whole is not None
    assert 0 < len(rest) < len(everything) == len(words)


def test_what_did_not_change_is_a_demonstration_but_no_preference() -> None:
    same = RevisionHistory((Draft("p", " as  it was", KIND),), ("fine",), " as it was")
    empty = RevisionHistory((Draft("p", " bad", KIND),), ("bad",), " ")
    assert [row["completion"] for row in demonstration_rows([same, empty], "m")] == [" as it was"]
    assert [row["rejected"] for row in preference_rows([same, empty], "m")] == [" bad"]
    chat = RevisionHistory((Draft([{"role": "user", "content": "hi"}], "a", KIND),), ("c",), "b")
    assert preference_rows([chat], "m")[0]["chosen"] == [{"role": "assistant", "content": "b"}]


def test_on_the_support_desk_revised_replies_are_better_by_the_gold_score(tmp_path: Path) -> None:
    rows = support_desk.demonstrations(400, seed=0)
    prompts, before = [row["prompt"] for row in rows], [row["completion"] for row in rows]
    drawn = support_desk_constitution().draw(400, np.random.default_rng(0), each=4)
    revised = revise_all(prompts, before, drawn, RuleJudge(), log=tmp_path / "log.jsonl")
    assert revised is not None
    gold = [np.mean(support_desk.gold_reward(prompts, texts)) for texts in (before, [each.text for each in revised])]
    assert gold[1] > gold[0] + 0.15
