"""Judgements on their way to and from other labelling tools."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from textrl_env.data import OnBadRow, checked_rows, parse
from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.desk import (
    Event,
    Item,
    Judgement,
    Key,
    Log,
    Store,
    event_of,
    item_fault,
    judgement_of,
    name_fault,
    ranks_of,
)

Annotated = tuple[Item, Sequence[Event]]


@dataclass(frozen=True)
class Imported:
    """Somebody's answer to an item, from another tool; without judgement it is a skip."""

    item: Item
    annotator: str
    judgement: Judgement
    seconds: float
    created_at: str


@dataclass(frozen=True)
class Columns:
    """What another tool's rows call the texts; without `completions`: completion_1, completion_2 and so on."""

    prompt: str = "prompt"
    completions: tuple[str, ...] = ()

    def item(self, task: str, texts: Mapping[str, Any]) -> Item:
        """InputError where a text is missing or is none."""
        names = self.completions or tuple(name_of(index) for index in range(9) if name_of(index) in texts)
        if missing := [name for name in (self.prompt, *names) if name not in texts]:
            raise InputError(f"no text {missing[0]!r} (found: {', '.join(map(repr, texts)) or 'none'})")
        prompt, completions = texts[self.prompt], [texts[name] for name in names]
        if fault := item_fault(task, prompt, completions):
            raise InputError(fault)
        return Item(task, prompt, tuple(completions))  # type: ignore[arg-type]

    def index(self, name: Any, item: Item) -> int:
        """Which completion a name stands for; InputError where it is none."""
        names = self.completions or tuple(map(name_of, range(len(item.completions))))
        if name not in names:
            raise InputError(f"{name!r:.60} is none of the completions {', '.join(map(repr, names))}")
        return names.index(name)


def name_of(index: int) -> str:
    return f"completion_{index + 1}"


def by_item(log: Log, items: Mapping[str, Item]) -> list[Annotated]:
    """Every item with the first-round answers to it that stand, skips included."""
    found: dict[str, list[Event]] = {item: [] for item in items}
    for standing in log.current.values():
        for event in standing.values():
            if event.key.round == 0:
                found[event.key.item].append(event)
    return [(item, sorted(found[id], key=lambda event: event.id)) for id, item in items.items()]


def ordered(ranks: Sequence[int]) -> tuple[list[int], list[int]]:
    """Ranks as other tools have them: an order, best first, and which of it are as good as the one before."""
    order = sorted(range(len(ranks)), key=lambda index: ranks[index])
    return order, [b for a, b in pairwise(order) if ranks[a] == ranks[b]]


def ranked(order: Sequence[int], ties: Iterable[int]) -> list[int]:
    """Undoes `ordered`."""
    groups: list[list[int]] = []
    tied = set(ties)
    for index in order:
        if index in tied and groups:
            groups[-1].append(index)
        else:
            groups.append([index])
    return list(ranks_of(groups))


def checked_judgement(item: Item, values: Mapping[str, Any]) -> Judgement:
    """`judgement_of`, where an answer without ranks and rating is a skip."""
    given = {name: value for name, value in values.items() if value is not None}
    answered = "ranks" in given or "rating" in given
    return judgement_of(given, item.task, len(item.completions), answered=answered)


def read_imported(
    path: str | Path, read_row: Callable[[Mapping[str, Any]], list[Imported]], column: str, *, on_bad_row: OnBadRow
) -> list[Imported]:
    """All answers in a file of another tool, checked row by row.

    Args:
        path: `.json` or `.jsonl`.
        read_row: the answers in a row; raises InputError.
        column: that every row has.
        on_bad_row: as for `textrl_env.data.rows.read_rows`.
    """

    def fault(row: Mapping[str, Any]) -> str | None:
        try:
            for found in read_row(row):
                _event(found, {found.item.id: found.item}, Log())
        except InputError as error:
            return str(error)
        return None

    rows = checked_rows(parse(path, column), columns=[column], fault_of=fault, on_bad_row=on_bad_row, source=str(path))
    return [found for row in rows for found in read_row(row.values)]


def add_to(store: Store, imported: Sequence[Imported]) -> int:
    """Writes answers into a store, items included; returns how many were new.

    An answer of a person to an item they have answered already, here or in an earlier import, changes nothing.
    """
    store.add_items(found.item for found in imported)
    log = Log()
    log.apply(store.events())
    unseen = {Key(found.item.id, found.annotator, 0): found for found in imported}
    events = [_event(found, store.items, log) for key, found in unseen.items() if log.next_revision(key) % 2]
    return sum(store.append(events))


def _event(found: Imported, items: Mapping[str, Item], log: Log) -> Event:
    if fault := name_fault(found.annotator):
        raise InputError(fault)
    key = Key(found.item.id, found.annotator, 0)
    revision = log.next_revision(key)
    content = json.dumps([*key, revision, found.judgement.to_json()])
    values = {
        **key._asdict(),
        "revision": revision,
        "kind": "label" if found.judgement.answered else "skip",
        "judgement": json.loads(found.judgement.to_json()),
        "shown": (),
        "seconds": found.seconds,
        "created_at": found.created_at,
        "submission": f"import-{hashlib.sha256(content.encode()).hexdigest()[:32]}",
    }
    return event_of(values, items)
