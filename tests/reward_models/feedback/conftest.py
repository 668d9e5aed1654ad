"""A desk on a new database, and answers as a client posts them."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from textrl_env.reward_models.feedback.desk import Desk, DeskConfig, DeskQuestion
from textrl_env.reward_models.feedback.store import Item, Store

_numbers = itertools.count()


def pairs(n: int) -> list[Item]:
    return [Item("pair", f"Question {number}?", (f"good {number}", f"bad {number}")) for number in range(n)]


def answer_to(question: DeskQuestion, **values: Any) -> dict[str, Any]:
    """An answer to a question in the order shown; by default the first one shown is better."""
    kind = values.get("kind", "label")
    default: dict[str, Any] = {}
    if kind == "label":
        k = len(question.order)
        default = {"rating": 4} if question.item.task == "rating" else {"ranks": list(range(1, k + 1))}
    asked = {"item": question.key.item, "round": question.key.round, "revision": question.revision}
    return {**asked, "kind": "label", "seconds": 2.5, "submission": f"s-{next(_numbers)}", **default, **values}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "labels.db")


@pytest.fixture
def make_desk(store: Store) -> Callable[..., Desk]:
    """A desk with some items, pairs by default, on the database of the test."""

    def make(items: int | list[Item] = 6, *, clock: Any = None, **plan: Any) -> Desk:
        store.add_items(pairs(items) if isinstance(items, int) else items)
        return Desk(store, DeskConfig(**plan), **({"clock": clock} if clock else {}))

    return make


@pytest.fixture
def posted() -> Callable[..., dict[str, Any]]:
    """`answer_to`, for tests: question, values -> body."""
    return answer_to
