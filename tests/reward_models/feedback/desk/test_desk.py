"""The desk: every item to as many people as planned, repeats unseen, orders random, answers put back in order."""

import itertools
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.desk import AnswerConflictError, Desk, DeskConfig
from textrl_env.reward_models.feedback.desk.assignment import REPEAT_GAP, order_completions, order_items
from textrl_env.reward_models.feedback.desk.desk import RESERVATION_SECONDS
from textrl_env.reward_models.feedback.store import AnswerKey, Item, Store, name_fault

MakeDesk = Callable[..., Desk]
Posted = Callable[..., dict[str, Any]]


def answer_all(desk: Desk, posted: Posted, *annotators: str, seed: int = 0) -> list[AnswerKey]:
    """Whoever has a question answers, in random turns, until nobody has one."""
    chance, keys, active = random.Random(seed), [], list(annotators)
    while active:
        name = chance.choice(active)
        question = desk.question(name)
        if question is None:
            active.remove(name)
            continue
        keys.append(desk.save(desk.answer(name, posted(question))).key)
    return keys


@pytest.mark.parametrize(("n", "overlap", "people"), [(12, 1, 3), (12, 2, 3), (7, 3, 3), (5, 4, 2)])
def test_every_item_reaches_as_many_people_as_planned(
    make_desk: MakeDesk, n: int, overlap: int, people: int, posted: Posted
) -> None:
    desk = make_desk(n, overlap=overlap)
    keys = answer_all(desk, posted, *(f"person {number}" for number in range(people)))
    assert Counter(Counter(key.item for key in keys).values()) == {min(overlap, people): n}
    assert len(set(keys)) == len(keys)


def test_two_people_do_not_get_the_same_item_until_one_has_had_it_too_long(make_desk: MakeDesk, posted: Posted) -> None:
    now = 0.0
    desk = make_desk(2, clock=lambda: now)
    first, second = desk.question("ada"), desk.question("ben")
    assert first and second and first.key.item != second.key.item and desk.question("cleo") is None
    assert desk.question("ada") == first, "loading again changes nothing"
    now = RESERVATION_SECONDS + 1
    given = desk.question("cleo")
    assert given and given.key.item in (first.key.item, second.key.item)
    # Nobody's work is thrown away: who answers late still answers.
    for name, question in (("ada", first), ("ben", second), ("cleo", given)):
        desk.save(desk.answer(name, posted(question)))
    assert len(desk.log.labels()) == 3


def test_repeats_are_as_many_as_planned_each_once_and_not_too_soon(make_desk: MakeDesk, posted: Posted) -> None:
    desk = make_desk(40, repeats=0.2)
    keys = answer_all(desk, posted, "ada")
    repeats = [key for key in keys if key.round == 1]
    assert len(repeats) == len(set(repeats)) == 10  # A fifth of 40 + 10.
    for key in repeats:
        assert keys.index(key) - keys.index(key._replace(round=0)) > REPEAT_GAP
    places = [keys.index(key) for key in repeats]
    assert max(b - a for a, b in itertools.pairwise(places)) <= 8, "they are spread over the work"


def test_a_repeat_turns_the_order_round(make_desk: MakeDesk, posted: Posted) -> None:
    desk = make_desk(30, repeats=0.3)
    answer_all(desk, posted, "left")
    again = {event.key: event for event in desk.log.labels(round=1)}
    assert again
    for key, event in again.items():
        first = desk.log.last[key._replace(round=0)]
        # This annotator always prefers the first shown, and so contradicts themselves each time.
        assert event.order == first.order[::-1] and event.judgement.ranks != first.judgement.ranks


def test_all_orders_of_completions_are_equally_likely() -> None:
    counts = Counter(order_completions("0", AnswerKey(f"{n:032x}", "ada", 0), 3) for n in range(6000))
    assert len(counts) == 6 and all(abs(count - 1000) < 150 for count in counts.values())
    differ = [
        order_completions("0", AnswerKey(f"{n}", "ada", 0), 3) != order_completions("0", AnswerKey(f"{n}", "ben", 0), 3)
        for n in range(600)
    ]
    assert 0.75 < sum(differ) / 600 < 0.9


def test_items_come_at_random_and_the_most_disputed_first() -> None:
    names = [f"item {n}" for n in range(50)]
    flat = dict.fromkeys(names, 0.0)
    order = order_items(names, flat, "0")
    assert sorted(order) == sorted(names) and order not in (names, order_items(names, flat, "1"))
    disputed = order_items(names, {**flat, "item 7": 0.3, "item 9": 0.8}, "0")
    assert disputed[:2] == ["item 9", "item 7"]
    assert disputed[2:] == [name for name in order if name not in ("item 7", "item 9")]


def test_what_is_stored_is_in_the_order_of_the_item(make_desk: MakeDesk, posted: Posted) -> None:
    items = [Item("ranking", f"p{n}", ("best", "good", "poor", "worst")) for n in range(12)]
    desk = make_desk(items)
    for _ in items:
        question = desk.question("ada")
        assert question
        place = {text: rank for rank, text in enumerate(("best", "good", "poor", "worst"), start=1)}
        ranks = [place[text] for text in question.completions]
        tags = [["false"] if text == "worst" else [] for text in question.completions]
        desk.save(desk.answer("ada", posted(question, ranks=ranks, tags=tags)))
    events = desk.log.labels()
    assert {event.judgement.ranks for event in events} == {(1, 2, 3, 4)}
    assert {event.judgement.tags for event in events} == {((), (), (), ("false",))}
    assert len({event.order for event in events}) > 3


def test_undo_brings_back_one_question_after_another(make_desk: MakeDesk, posted: Posted) -> None:
    desk = make_desk(5)
    asked = []
    for _ in range(3):
        question = desk.question("ada")
        assert question
        asked.append(question)
        desk.save(desk.answer("ada", posted(question)))
    for number, question in enumerate(reversed(asked)):
        desk.save(desk.undo("ada", f"u{number}"))
        back = desk.question("ada")
        assert back and back.key == question.key and back.order == question.order and back.revision == 3
    with pytest.raises(AnswerConflictError, match="nothing to undo"):
        desk.undo("ada", "u9")
    with pytest.raises(AnswerConflictError):
        desk.undo("ben", "u9")
    for question in asked:  # The one taken back last comes first.
        back = desk.question("ada")
        assert back and back.key == question.key
        desk.save(desk.answer("ada", posted(back)))
    assert len(desk.store.events()) == 9 and len(desk.log.labels()) == 3


def test_an_undone_item_is_open_to_others_again(make_desk: MakeDesk, posted: Posted) -> None:
    desk = make_desk(1)
    answer_all(desk, posted, "ada")
    assert desk.question("ben") is None
    desk.save(desk.undo("ada", "u"))
    question = desk.question("ben")
    assert question and question.key.annotator == "ben"


def test_a_skipped_item_goes_to_somebody_else(make_desk: MakeDesk, posted: Posted) -> None:
    desk = make_desk(1)
    question = desk.question("ada")
    assert question
    desk.save(desk.answer("ada", posted(question, kind="skip")))
    assert desk.question("ada") is None
    other = desk.question("ben")
    assert other and other.key.item == question.key.item
    assert desk.progress("ada").n_done == 0 and desk.progress("ada").n_own == 1


def test_the_same_submission_is_one_label_and_another_one_is_a_conflict(make_desk: MakeDesk, posted: Posted) -> None:
    desk = make_desk(2)
    question = desk.question("ada")
    assert question
    body = posted(question)
    one, other = desk.answer("ada", body), desk.answer("ada", posted(question))
    again = desk.answer("ada", body)
    first = desk.save(one)
    assert desk.save(again) == first == desk.find_submission("ada", body["submission"])
    with pytest.raises(AnswerConflictError, match="answered elsewhere"):
        desk.save(other)
    with pytest.raises(AnswerConflictError, match="load it again"):
        desk.answer("ada", posted(question))
    assert desk.find_submission("ben", body["submission"]) is None
    assert len(desk.store.events()) == 1


def test_two_desks_on_one_database_see_each_other(tmp_path: Path, posted: Posted) -> None:
    one, two = (Store(tmp_path / "labels.db") for _ in range(2))
    for store in (one, two):
        store.add_items([Item("pair", "p", ("a", "b"))])
    first, second = Desk(one, DeskConfig(seed="1")), Desk(two, DeskConfig(seed="2"))
    assert first.config.seed == second.config.seed == "1", "the database keeps the order it was begun with"
    here, there = first.question("ada"), second.question("ada")
    assert here and there and here.order == there.order
    first.save(first.answer("ada", posted(here)))
    with pytest.raises(AnswerConflictError):
        second.save(second.answer("ada", posted(there)))
    assert second.question("ada") is None and len(second.log.labels()) == 1


def test_items_and_answers_that_another_process_adds_are_taken_in(make_desk: MakeDesk, posted: Posted) -> None:
    desk = make_desk(1)
    answer_all(desk, posted, "ada")
    elsewhere = Store(desk.store.path)
    elsewhere.add_items([Item("pair", f"new {n}", ("a", "b")) for n in range(2)])
    other = Desk(elsewhere, DeskConfig())
    question = other.question("ben")
    assert question
    other.save(other.answer("ben", posted(question)))
    desk.refresh()
    assert len(desk.log.labels()) == 2
    assert len(answer_all(desk, posted, "ada")) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"item": "0" * 32}, "there is no item"),
        ({"item": ["x"]}, "there is no item"),
        ({"round": 2}, "'round' must be 0 or 1"),
        ({"round": False}, "'round' must be 0 or 1"),
        ({"revision": "1"}, "'revision' must be odd"),
        ({"revision": 2}, "'revision' must be odd"),
        ({"kind": "undo"}, "'kind' must be label or skip"),
        ({"kind": {}}, "'kind' must be one of"),
        ({"seconds": float("nan")}, "'seconds' must be a number"),
        ({"seconds": -1}, "'seconds' must be a number"),
        ({"submission": "a b"}, "'submission' must be 1 to 64"),
        ({"submission": "x" * 65}, "'submission' must be 1 to 64"),
        ({"annotator": "ben"}, "expected item, kind, revision"),
        ({"kind": "skip"}, "expected neither ranks nor a rating"),
    ],
)
def test_a_bad_answer_is_refused(make_desk: MakeDesk, change: dict[str, Any], message: str, posted: Posted) -> None:
    desk = make_desk(1)
    question = desk.question("ada")
    assert question
    body = posted(question) | change
    with pytest.raises(InputError, match=message):
        desk.answer("ada", body)
    del body["item"]
    with pytest.raises(InputError, match="expected item"):
        desk.answer("ada", body)


def test_a_repeat_that_was_not_asked_for_is_a_conflict(make_desk: MakeDesk, posted: Posted) -> None:
    desk = make_desk(1)
    question = desk.question("ada")
    assert question
    with pytest.raises(AnswerConflictError):
        desk.answer("ada", posted(question, round=1))


@pytest.mark.parametrize(("option", "value"), [("overlap", 0), ("repeats", 1.0), ("repeats", -0.1)])
def test_an_impossible_plan_is_refused_by_name(option: str, value: Any) -> None:
    with pytest.raises(InputError, match=option):
        DeskConfig(**{option: value})


@pytest.mark.parametrize("name", ["", " ada", "a" * 41, "a\tb", 7, None, "\ud800"])
def test_an_annotators_name_is_short_printable_text(name: Any) -> None:
    assert name_fault(name) and not name_fault("Ада Lovelace")
