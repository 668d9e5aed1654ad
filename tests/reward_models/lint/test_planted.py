"""Each planted fault makes its own finding, at its rows, and no other; data without fault makes none."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from textrl_env.reward_models.lint import LintReport, TokenBudget

Row = dict[str, Any]
Report = Callable[..., LintReport]


class Characters:
    """A token a character, and an end token."""

    pad_token_id = eos_token_id = 0

    def __len__(self) -> int:
        return 1 << 17

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return [1 + ord(character) for character in text]

    def decode(self, token_ids: Any, *, skip_special_tokens: bool = False) -> str:
        return "".join(chr(token - 1) for token in token_ids)


def found(report: LintReport) -> list[str]:
    return [finding.check for finding in report.at_least("notice")]


def only(report: LintReport) -> Any:
    assert len(report.at_least("notice")) == 1, report.at_least("notice")
    return report.at_least("notice")[0]


def at(finding: Any) -> list[list[int]]:
    """The line numbers of each example."""
    return [[int(where.rpartition(":")[2]) for where in example.where] for example in finding.examples]


def other_prompts(rows: list[Row]) -> list[Row]:
    return [row | {"prompt": f"{row['prompt'][::-1]} elsewhere"} for row in rows]


def test_nothing_is_found_where_nothing_is(clean: list[Row], report: Report) -> None:
    looked = report(
        clean, against=other_prompts(clean), budget=TokenBudget(Characters(), 2000), by="kind", max_chars=2000
    )
    assert found(looked) == [] and looked.skipped == {}
    assert (looked.n_rows, looked.n_pairs, looked.n_prompts) == (400, 400, 200)
    assert {finding.check for finding in looked.findings} == {"length bias", "position bias", "labels per slice"}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "p", "chosen": "a"},
        {"prompt": "p", "chosen": "a", "rejected": None},
        {"prompt": 3, "chosen": "a", "rejected": "b"},
        {"prompt": "p", "chosen": "a", "rejected": "b", "tie": "perhaps"},
        {"prompt": "p", "ranking": ["a"]},
        {"prompt": [{"role": "user"}], "chosen": "a", "rejected": "b"},
        {"prompt": "p", "chosen": [{"role": "assistant", "content": 3}], "rejected": []},
        "chosen",
        None,
    ],
)
def test_a_bad_row_is_a_finding_and_does_not_end_the_lint(clean: list[Row], report: Report, row: Any) -> None:
    finding = only(report([*clean[:5], row, *clean[5:]]))
    assert finding.check == "bad rows" and finding.outcome == "error" and (finding.count, finding.of) == (1, 401)
    assert at(finding) == [[6]] and finding.examples[0].text


def test_identical_texts(clean: list[Row], report: Report) -> None:
    same = [{"prompt": "p", "chosen": "a b", "rejected": "a b"}, {"prompt": "q", "ranking": ["a", "b", "a"]}]
    finding = only(report([*clean, *same]))
    assert finding.check == "identical texts" and finding.outcome == "error" and finding.count == 2
    assert at(finding) == [[401], [402]]


@pytest.mark.parametrize("column", ["chosen", "prompt"])
def test_empty_texts(clean: list[Row], report: Report, column: str) -> None:
    clean[7][column] = ""
    finding = only(report(clean))
    assert finding.check == "empty texts" and at(finding) == [[8]]


def test_whole_texts_need_no_prompt(clean: list[Row], report: Report) -> None:
    assert found(report([{**row, "prompt": ""} for row in clean])) == []


def test_duplicates_word_for_word(clean: list[Row], report: Report) -> None:
    finding = only(report([*clean, clean[3], clean[3], clean[9]]))
    assert finding.check == "duplicates" and finding.count == 3
    assert at(finding) == [[4, 401], [4, 402], [10, 403]]


def test_a_second_opinion_is_no_duplicate(clean: list[Row], report: Report) -> None:
    assert found(report([*clean, clean[3] | {"annotator": "somebody else"}])) == []


def test_duplicates_but_for_punctuation(clean: list[Row], report: Report) -> None:
    copy = clean[3] | {"chosen": f"  {clean[3]['chosen'].upper()} !", "prompt": clean[3]["prompt"].replace(" ", "\n")}
    finding = only(report([*clean, copy]))
    assert finding.check == "duplicates but for punctuation" and at(finding) == [[4, 401]]


def test_a_repeat_of_a_near_repeat_is_counted_once(clean: list[Row], report: Report) -> None:
    shouted = clean[3] | {"chosen": clean[3]["chosen"].upper()}
    looked = report([*clean, shouted, shouted])
    assert {finding.check: at(finding) for finding in looked.at_least("notice")} == {
        "duplicates": [[401, 402]],
        "duplicates but for punctuation": [[4, 401]],
    }


def test_signs_that_mean_something_are_no_punctuation(clean: list[Row], report: Report) -> None:
    rows = [{"prompt": "which one?", "chosen": f"x {sign} 5", "rejected": f"x {sign} 6"} for sign in "<>=+"]
    assert found(report([*clean, *rows])) == []


def test_near_duplicates(clean: list[Row], report: Report) -> None:
    copy = {column: f"{clean[3][column]} indeed" for column in ("prompt", "chosen", "rejected")}
    finding = only(report([*clean, clean[3] | copy], similar=0.6))
    assert finding.check == "near-duplicates" and at(finding) == [[4, 401]] and finding.outcome == "notice"
    assert found(report([*clean, clean[3] | copy | {"rejected": clean[5]["rejected"]}], similar=0.6)) == []


def test_contradictory_pairs(clean: list[Row], report: Report) -> None:
    turned = clean[3] | {"chosen": clean[3]["rejected"], "rejected": clean[3]["chosen"]}
    finding = only(report([*clean, turned]))
    assert finding.check == "contradictory pairs" and finding.outcome == "warning" and at(finding) == [[4, 401]]
    finding = only(report([*clean, turned | {"annotator": "somebody else"}]))
    assert finding.check == "disagreement" and finding.outcome == "notice" and at(finding) == [[4, 401]]
    assert found(report([*clean, turned | {"tie": True}])) == []


def test_a_label_below_a_half_is_the_other_way_round(clean: list[Row], report: Report) -> None:
    first, second = clean[3]["chosen"], clean[3]["rejected"]
    row = {"prompt": clean[3]["prompt"], "annotator": clean[3]["annotator"], "ranking": [first, second]}
    assert found(report([*clean, row | {"soft_labels": [0.3]}])) == ["contradictory pairs"]
    assert found(report([*clean, row | {"soft_labels": [0.7]}])) == []


def test_cycles(clean: list[Row], report: Report) -> None:
    a, b, c, d = "Ab el in.", "Or um be.", "Ki lo ma.", "Nu pe ri."
    circle = [(a, b), (b, c), (c, d), (d, a)]
    rows = [{"prompt": "What?", "chosen": x, "rejected": y} for x, y in circle]
    finding = only(report([*clean, *rows]))
    assert finding.check == "cycles" and finding.count == 1 and "of 4 completions" in finding.message
    assert sorted(at(finding)[0]) == [401, 402, 403, 404]
    assert found(report([*clean, *rows[:3]])) == []
    other = [row | {"prompt": f"What {i}?"} for i, row in enumerate(rows)]
    assert found(report([*clean, *other])) == [], "each prompt is a question of its own"


def test_a_ranking_against_a_pair_is_a_cycle_too(clean: list[Row], report: Report) -> None:
    rows = [
        {"prompt": "What?", "ranking": ["x y", "z w", "q r"], "annotator": "one"},
        {"prompt": "What?", "ranking": ["q r", "s t", "x y"], "annotator": "two"},
        {"prompt": "What?", "ranking": ["q r", "s t", "x y"], "annotator": "three"},
    ]
    assert "cycles" in found(report([*clean, *rows]))


def test_over_long_rows_and_texts_that_differ_beyond_the_limit(clean: list[Row], report: Report) -> None:
    start = "k" * 300
    rows = [{"prompt": "What?", "chosen": f"{start} ab", "rejected": f"{start} el"}]
    assert found(report([*clean, *rows])) == []
    looked = report([*clean, *rows], budget=TokenBudget(Characters(), 306))
    assert found(looked) == ["over-long rows", "identical after truncation"]
    assert [at(finding) for finding in looked.at_least("notice")] == [[[401]], [[401]]]
    # What? + 300 + " ab" + end = 309 tokens.
    assert found(report([*clean, *rows], budget=TokenBudget(Characters(), 308))) == ["over-long rows"]
    assert found(report([*clean, *rows], budget=TokenBudget(Characters(), 309))) == []
    assert found(report([*clean, *rows], max_chars=306)) == ["identical after truncation"]
    assert found(report([*clean, *rows], max_chars=307)) == []


class Chatty(Characters):
    """Its template puts a character around a conversation's text."""

    chat_template = "there is one"

    def apply_chat_template(self, messages: Any, *, add_generation_prompt: bool, tokenize: bool) -> str:
        return f"<{messages[-1]['content']}>"


def test_conversations_are_as_long_as_their_template_makes_them(report: Report) -> None:
    turns = (
        [{"role": "user", "content": "k" * 50}],
        *([{"role": "assistant", "content": text}] for text in ("abc", "x")),
    )
    row = dict(zip(("prompt", "chosen", "rejected"), turns, strict=True))
    # 50 characters and the two of the template, the longer answer and the end.
    assert "over-long rows" not in found(report([row], budget=TokenBudget(Chatty(), 56)))
    assert "over-long rows" in found(report([row], budget=TokenBudget(Chatty(), 55)))


def test_leakage(clean: list[Row], report: Report) -> None:
    apart = other_prompts(clean)
    turned = clean[3] | {"chosen": clean[3]["rejected"].upper(), "rejected": clean[3]["chosen"]}
    pair, prompt = report(clean, against=[*apart, turned]).at_least("notice")
    assert (pair.check, pair.outcome, at(pair)) == ("leakage", "error", [[4, 401]])
    assert (prompt.check, prompt.outcome, at(prompt)) == ("leakage", "warning", [[3, 401]]), "the prompt's other label"
    near = only(report(clean, against=[*apart, turned | {"prompt": f"{clean[3]['prompt']} Indeed."}], similar=0.6))
    assert (near.outcome, at(near)) == ("notice", [[3, 401], [4, 401]])


def test_position_bias(clean: list[Row], report: Report) -> None:
    rng = np.random.default_rng(1)
    rows = [row | {"shown": [0, 1] if rng.random() < 0.7 else [1, 0]} for row in clean]
    finding = only(report(rows))
    assert finding.check == "position bias" and finding.outcome == "warning"
    (effect,) = finding.effects
    assert effect.low < 0.7 < effect.high and effect.low > 0.6


def test_length_bias_alone_makes_no_word_suspicious(make_rows: Any, report: Report) -> None:
    rng = np.random.default_rng(2)
    rows = make_rows(4000)
    for row in rows:
        longer, shorter = sorted((row["chosen"], row["rejected"]), key=lambda text: -len(text.split()))
        row["chosen"], row["rejected"] = (longer, shorter) if rng.random() < 0.8 else (shorter, longer)
    finding = only(report(rows))
    assert finding.check == "length bias" and finding.outcome == "warning" and "longer" in finding.message
    longer_share, d = finding.effects
    assert longer_share.low < 0.79 < longer_share.high + 0.01 and d.low > 0.5
    turned = [row | {"chosen": row["rejected"], "rejected": row["chosen"]} for row in rows]
    assert "shorter" in only(report(turned)).message


def test_lexical_bias(make_rows: Any, report: Report) -> None:
    rng = np.random.default_rng(3)
    rows = make_rows(1000)
    for row in rows[::3]:
        # A word takes the place of another, so that it changes no length.
        side = "chosen" if rng.random() < 0.8 else "rejected"
        row[side] = " ".join(["Certainly,", *row[side].split()[1:]])
    finding = only(report(rows))
    assert finding.check == "lexical bias" and finding.count == 1
    (effect,) = finding.effects
    assert effect.name == "'certainly'" and effect.low < 4 < effect.high, "odds of 0.8 to 0.2"


def test_annotators_who_take_one_side(make_rows: Any, report: Report) -> None:
    rows = make_rows(1000)
    for row in rows:
        if row["annotator"] == "ann-3":
            row["shown"] = [1, 0]
    finding = only(report(rows))
    assert finding.check == "one-sided annotators" and finding.count == 1 and "'ann-3'" in finding.examples[0].text
    assert finding.effects[0].name == "ann-3: shown first" and finding.effects[0].value == 0


def test_annotators_who_take_the_longer(make_rows: Any, report: Report) -> None:
    rows = make_rows(1000)
    for row in rows:
        if row["annotator"] == "ann-3":
            texts = row["chosen"], row["rejected"]
            row["chosen"], row["rejected"] = sorted(texts, key=lambda text: -len(text.split()))
    assert [effect.name for effect in only(report(rows)).effects] == ["ann-3: longer"]


def test_labels_on_few_prompts(make_rows: Any, report: Report) -> None:
    rows = make_rows(800)
    for row in rows[:300]:
        row["prompt"] = rows[0]["prompt"]
    finding = only(report(rows))
    assert finding.check == "labels per prompt" and "300 labels" in finding.examples[0].text


def test_labels_on_few_slices(clean: list[Row], report: Report) -> None:
    for index, row in enumerate(clean):
        row["kind"] = "rare" if index % 20 in (0, 1) else "usual"
    finding = only(report(clean, by="kind"))
    assert finding.check == "labels per slice" and "40 labels ('rare') to 360 ('usual')" in finding.message
    assert {effect.name: effect.value for effect in finding.effects} == {"usual": 0.9, "rare": 0.1}


def test_ties(clean: list[Row], report: Report) -> None:
    finding = only(report([row | {"tie": index % 4 > 0} for index, row in enumerate(clean)]))
    assert finding.check == "ties" and finding.count == 300


def test_a_file_of_bad_rows_only_is_judged_as_far_as_it_can_be(report: Report) -> None:
    looked = report([{"prompt": "p"}, 3])
    assert only(looked).count == 2 and "cycles" in looked.skipped


def test_rows_that_nobody_signed_are_nobodys_habit(make_rows: Any, report: Report) -> None:
    rows = make_rows(1000)
    for row in rows:
        if row["annotator"] == "ann-3":
            row |= {"annotator": None, "shown": [1, 0]}
    assert found(report(rows)) == []
