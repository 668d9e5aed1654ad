"""Answers on their way into a store, from the rows of other labelling tools."""

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from textrl_env.data import OnBadRow, Row
from textrl_env.data.columns import is_given
from textrl_env.data.rows import read_each, require_columns
from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.store import (
    AnswerKey,
    Item,
    Judgement,
    LabelEvent,
    LabelLog,
    Store,
    name_fault,
    rank_groups,
)


@dataclass(frozen=True)
class ImportedAnswer:
    """Somebody's answer to an item, from another tool; without judgement it is a skip."""

    item: Item
    annotator: str
    judgement: Judgement
    seconds: float
    created_at: str


@dataclass(frozen=True)
class LeftOut:
    """Something in a row that is no answer, and what it is: a draft, a prediction and so on."""

    kind: str


@dataclass(frozen=True)
class TextColumns:
    """Names of the texts in another tool's rows."""

    prompt: str = "prompt"
    """The column of the prompt."""
    completions: tuple[str, ...] = ()
    """The columns of the completions; by default completion_1, completion_2 and so on."""

    def item(self, task: str, texts: Mapping[str, Any]) -> Item:
        """Makes an item of a row's texts; InputError where one is missing or is no text."""
        names = self.names_in(texts)
        if missing := [name for name in (self.prompt, *names) if name not in texts]:
            raise InputError(f"no text {missing[0]!r} (found: {', '.join(map(repr, texts)) or 'none'})")
        return Item.from_values(task, texts[self.prompt], [texts[name] for name in names])

    def names_in(self, texts: Mapping[str, Any]) -> tuple[str, ...]:
        """Returns the names of the completions in a row."""
        return self.completions or tuple(name for name in map(completion_name, range(9)) if name in texts)

    def index(self, name: Any, item: Item) -> int:
        """Finds the completion that a name stands for; InputError where it is none."""
        names = self.completions or tuple(map(completion_name, range(len(item.completions))))
        if name not in names:
            raise InputError(f"{name!r:.60} is none of the completions {', '.join(map(repr, names))}")
        return names.index(name)


def completion_name(index: int) -> str:
    """Returns the default name of a completion: 0 -> `completion_1`."""
    return f"completion_{index + 1}"


def group_by_item(log: LabelLog, items: Mapping[str, Item]) -> list[tuple[Item, Sequence[LabelEvent]]]:
    """Pairs every item with the first-round answers to it that stand, oldest first, skips included."""
    by_item: dict[str, list[LabelEvent]] = {item: [] for item in items}
    for standing in log.current.values():
        for event in standing.values():
            if event.key.round == 0:
                by_item[event.key.item].append(event)
    return [(item, sorted(by_item[id], key=lambda event: event.id)) for id, item in items.items()]


def ranks_to_order(ranks: Sequence[int]) -> tuple[list[int], list[int]]:
    """Turns ranks into the order of other tools, best first, and those of it that are as good as the one before."""
    order = sorted(range(len(ranks)), key=lambda index: ranks[index])
    return order, [b for a, b in pairwise(order) if ranks[a] == ranks[b]]


def order_to_ranks(order: Sequence[int], ties: Iterable[int]) -> list[int]:
    """Undoes `ranks_to_order`."""
    groups: list[list[int]] = []
    as_before = set(ties)
    for index in order:
        if index in as_before and groups:
            groups[-1].append(index)
        else:
            groups.append([index])
    return list(rank_groups(groups))


def make_judgement(item: Item, values: Mapping[str, Any]) -> Judgement:
    """Makes a judgement of values of unknown origin, where an answer without ranks and rating is a skip."""
    present = {name: value for name, value in values.items() if value is not None}
    is_answer = "ranks" in present or "rating" in present
    return Judgement.from_values(present, item.task, len(item.completions), is_answer=is_answer)


def read_answers(
    path: str | Path,
    read_row: Callable[[Mapping[str, Any]], Sequence[ImportedAnswer | LeftOut]],
    column: str,
    *,
    on_bad_row: OnBadRow = "error",
) -> list[ImportedAnswer]:
    """Reads all answers in a file of another tool, checked row by row; a warning counts what is no answer.

    Args:
        path: `.json` or `.jsonl`, or any file that `textrl_env.data.read_rows` knows.
        read_row: makes the answers of a row; raises InputError.
        column: that every row has.
        on_bad_row: `error` stops at bad rows, `skip` leaves them out with a warning.

    Raises:
        InputError: no usable row, or (with `error`) bad rows; two rows with one `id` that are not alike, too.
    """
    rows_by_id: dict[str, str] = {}

    def read(row: Row) -> Sequence[ImportedAnswer | LeftOut]:
        require_columns(row.values, [column])
        if is_given(row.values.get("id")):
            content = json.dumps([row.values.get("annotator"), row.values[column]], sort_keys=True, default=repr)
            if rows_by_id.setdefault(repr(row.values["id"]), content) != content:
                raise InputError(f"the id {row.values['id']!r:.60} is that of another row as well")
        entries = read_row(row.values)
        for entry in entries:
            if isinstance(entry, ImportedAnswer):
                _make_event(entry, {entry.item.id: entry.item}, LabelLog())
        return entries

    entries = chain.from_iterable(read_each(path, read, column=column, on_bad_row=on_bad_row, only_submitted=True))
    answers: list[ImportedAnswer] = []
    counts: Counter[str] = Counter()
    for entry in entries:
        if isinstance(entry, LeftOut):
            counts[entry.kind] += 1
        else:
            answers.append(entry)
    if counts:
        names = ", ".join(f"{n} {kind}" for kind, n in counts.most_common())
        warnings.warn(f"{path}: left out {counts.total()} that are no submitted answers ({names})", stacklevel=2)
    return answers


def select_latest(answers: Sequence[ImportedAnswer]) -> list[ImportedAnswer]:
    """Returns one answer of each person to each item, the latest: by time where that is known, else by place."""
    latest: dict[AnswerKey, ImportedAnswer] = {}
    for answer in answers:
        key = AnswerKey(answer.item.id, answer.annotator, 0)
        times = [_read_time(entry) for entry in (latest.get(key, answer), answer)]
        if None in times or times[0] <= times[1]:  # type: ignore[operator]
            latest[key] = answer
    return list(latest.values())


def _read_time(answer: ImportedAnswer) -> float | None:
    try:
        return datetime.fromisoformat(answer.created_at).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def add_answers(store: Store, answers: Sequence[ImportedAnswer]) -> int:
    """Writes answers into a store, items included; returns how many were new.

    An answer of a person to an item they have answered already in the store changes nothing; of several answers the
    latest counts, see `select_latest`.
    """
    store.add_items(answer.item for answer in answers)
    log = LabelLog()
    log.apply(store.events())
    by_key = {AnswerKey(answer.item.id, answer.annotator, 0): answer for answer in select_latest(answers)}
    new = [answer for key, answer in by_key.items() if log.next_revision(key) % 2]
    return sum(store.append([_make_event(answer, store.items, log) for answer in new]))


def _make_event(answer: ImportedAnswer, items: Mapping[str, Item], log: LabelLog) -> LabelEvent:
    if fault := name_fault(answer.annotator):
        raise InputError(fault)
    key = AnswerKey(answer.item.id, answer.annotator, 0)
    revision = log.next_revision(key)
    content = json.dumps([*key, revision, answer.judgement.to_json()])
    values = {
        **key._asdict(),
        "revision": revision,
        "kind": "label" if answer.judgement.is_answer else "skip",
        "judgement": json.loads(answer.judgement.to_json()),
        "shown": (),
        "seconds": answer.seconds,
        "created_at": answer.created_at,
        "submission": f"import-{hashlib.sha256(content.encode()).hexdigest()[:32]}",
    }
    return LabelEvent.from_values(values, items)
