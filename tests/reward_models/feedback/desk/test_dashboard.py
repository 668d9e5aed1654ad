"""The dashboard's figures on hand-made logs."""

from collections.abc import Callable
from typing import Any

import pytest

from textrl_env.reward_models.feedback.desk import Desk, compute_dashboard
from textrl_env.reward_models.feedback.desk.dashboard import percent_agreement
from textrl_env.reward_models.feedback.store import Item

Posted = Callable[..., dict[str, Any]]


def test_percent_agreement_by_hand() -> None:
    assert percent_agreement([]) is None
    assert percent_agreement([[(1,)], [(0,)]]) is None
    # Three people: of the three pairs one agrees. Two people on three verdicts: two agree. Together 3 of 6.
    assert percent_agreement([[(1,), (1,), (-1,)], [(1, 0, -1), (1, 1, -1)]]) == pytest.approx(3 / 6)


def test_figures_of_two_people_by_hand(make_desk: Callable[..., Desk], posted: Posted) -> None:
    items = [Item("pair", f"p{number}", ("a", "b")) for number in range(4)]
    desk = make_desk(items, overlap=2)
    says = {"ada": "aaab", "ben": "abas"}  # On p0 … p3; s skips.
    for name, answers in says.items():
        while question := desk.question(name):
            said = answers[items.index(question.item)]
            ranks = [1 if text == said else 2 for text in question.completions]
            values = {"kind": "skip"} if said == "s" else {"ranks": ranks}
            seconds = 2.0 if name == "ada" else 5.0
            desk.save(desk.answer(name, posted(question, seconds=seconds, **values)))
    found = compute_dashboard(desk.log, desk.store.items, overlap=2)
    assert (found.items, found.labels, found.goal, found.complete) == (4, 7, 8, 3)
    assert found.agreement == pytest.approx(2 / 3) and found.consistency is None and found.seconds == 2.0
    ada, ben = found.annotators
    assert (ada.name, ada.labels, ada.skips, ada.seconds) == ("ada", 4, 0, 2.0)
    assert (ben.name, ben.labels, ben.skips, ben.seconds) == ("ben", 3, 1, 5.0)
    assert ada.agreement == ben.agreement == pytest.approx(2 / 3)
    (disputed,) = found.disputes
    assert disputed.item.prompt == "p1" and disputed.agreement == 0
    assert disputed.votes == (("ada", "1 > 2"), ("ben", "2 > 1"))


def test_consistency_finds_who_goes_by_the_place(make_desk: Callable[..., Desk], posted: Posted) -> None:
    desk = make_desk(30, repeats=0.3, overlap=2)
    for name in ("reader", "clicker"):
        while question := desk.question(name):
            good = [1 if text.startswith("good") else 2 for text in question.completions]
            desk.save(desk.answer(name, posted(question, ranks=good if name == "reader" else [1, 2])))
    by_name = {person.name: person for person in compute_dashboard(desk.log, desk.store.items, overlap=2).annotators}
    assert by_name["reader"].consistency == 1.0 and by_name["clicker"].consistency == 0.0
    assert by_name["reader"].repeats == by_name["clicker"].repeats > 5
