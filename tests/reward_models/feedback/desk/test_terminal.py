"""The desk in a terminal: the same desk, the same labels."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from textrl_env.reward_models.feedback.desk import Desk, label_in_terminal
from textrl_env.reward_models.feedback.store import Item


def typed(desk: Desk, *lines: str) -> str:
    """What the screen shows after these lines and the end of input."""
    console, left = Console(file=io.StringIO(), width=90), iter(lines)

    def read(prompt: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    label_in_terminal(desk, "ada", console, read=read)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def ranks_by_text(desk: Desk) -> list[Any]:
    return [
        dict(zip(desk.store.items[event.key.item].completions, event.judgement.ranks or (), strict=True))
        for event in desk.log.labels()
    ]


def test_pairs_are_answered_in_the_order_shown(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(4)
    shown = typed(desk, "1", "t", "s", "2 +false@1 +off topic@2 +clear # the second one, clearly")
    assert "Nothing is left" in shown
    first, tie, last = (event for event in desk.log.labels())
    assert first.judgement.ranks == tuple(1 + first.order.index(index) for index in range(2))
    assert tie.judgement.ranks == (1, 1)
    assert last.judgement.ranks == tuple(2 - last.order.index(index) for index in range(2))
    assert [last.judgement.tags[index] for index in last.order] == [("false",), ("off topic",)]
    assert last.judgement.reasons == ("clear",) and last.judgement.comment == "the second one, clearly"


def test_rankings_with_ties(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk([Item("ranking", f"p{n}", ("a", "b", "c")) for n in range(3)])
    typed(desk, "2 3 1", "31 = 2", "1=2=3")
    events = desk.log.labels()
    shown = [tuple(event.judgement.ranks[index] for index in event.order) for event in events if event.judgement.ranks]
    assert shown == [(3, 1, 2), (2, 2, 1), (1, 1, 1)]


def test_ratings_undo_and_quitting(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk([Item("rating", f"p{n}", ("a",)) for n in range(3)])
    shown = typed(desk, "u", "7", "u", "3", "8", "q", "5")
    assert "nothing to undo" in shown and "'rating' must be a whole number" in shown
    assert [event.judgement.rating for event in desk.log.labels()] == [3]


@pytest.mark.parametrize("line", ["", "3", "yes", "1 2", "+unsafe", "1 +rude", "1 +unsafe@3", "# only a comment", "tt"])
def test_a_line_that_says_nothing_is_asked_again(make_desk: Callable[..., Desk], line: str) -> None:
    desk = make_desk(1)
    typed(desk, line)
    assert desk.store.events() == []
    typed(desk, line, "1")
    assert len(desk.log.labels()) == 1


def test_hostile_texts_are_shown_as_they_are(make_desk: Callable[..., Desk]) -> None:
    shown = typed(make_desk([Item("pair", "[bold]p[/bold]", ("[red]a[/red]", "\x1b[2Jgone\x07"))]))
    assert "[bold]p[/bold]" in shown and "[red]a[/red]" in shown and "\\u001b[2Jgone\\u0007" in shown
    assert "\x1b[2J" not in shown and "\x07" not in shown
