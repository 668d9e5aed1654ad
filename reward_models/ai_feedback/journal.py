"""Answers on the disk: a JSONL file to which every finished answer is added, so that a rerun asks only the rest."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from textrl_env.data.rows import check_rows, parse_rows
from textrl_env.errors import InputError
from textrl_env.reward_models.ai_feedback.judges import Draft, Judge, JudgeQuestion, Reviser
from textrl_env.training import progress_bar

Record = Mapping[str, Any]
AnyQuestion = TypeVar("AnyQuestion", JudgeQuestion, Draft)


class Journal:
    """Records by their `key`.

    A last line that a crash cut off, so that it has no end, is dropped; any other damage is an error, and the file is
    left as it is.

    Args:
        path: the file; made with the first record.
        fault_of: says what is wrong with a record that has a key, or None.

    Raises:
        InputError: names `file:line` and what is wrong there.
    """

    def __init__(self, path: Path, fault_of: Callable[[Record], str | None]) -> None:
        self.path = path
        self._records: dict[str, Record] = {}
        if path.exists() and _trim_last_line(path):
            rows = check_rows(
                parse_rows(path, "key"),
                columns=["key"],
                fault_of=lambda row: "'key' must be text" if not isinstance(row["key"], str) else fault_of(row),
                skippable=False,
                source=str(path),
            )
            self._records = {row.values["key"]: row.values for row in rows}

    def __contains__(self, key: str) -> bool:
        return key in self._records

    def __getitem__(self, key: str) -> Record:
        return self._records[key]

    def add(self, records: Iterable[Record]) -> None:
        """Writes records down; returns when the disk has them."""
        records = list(records)
        lines = "".join(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror}); what it holds so far stays") from None
        self._records |= {record["key"]: record for record in records}


def answer_all(
    questions: Sequence[AnyQuestion],
    answerer: Judge | Reviser,
    answer: Callable[[list[AnyQuestion]], list[Record]],
    journal: Journal,
    *,
    description: str,
    should_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Adds the answers that the journal lacks; returns whether it has all of them now.

    An error in one batch ends the asking, after those under way have come in: what was answered is in the journal.

    Args:
        questions: any number; equal ones are asked once.
        answerer: says how many at once, and from how many threads.
        answer: returns a batch's records, a `key` in each.
        journal: what is there is not asked again.
        description: of the progress bar.
        should_stop: asked before every batch; True ends the asking early.
    """
    by_key = {question.key(answerer.identity): question for question in questions}
    missing = [question for key, question in by_key.items() if key not in journal]
    size = answerer.batch_size
    batches = iter([missing[start : start + size] for start in range(0, len(missing), size)])
    with progress_bar(description, len(by_key)) as advance:
        advance(len(by_key) - len(missing))
        for records in _answer_batches(batches, answer, answerer.workers, should_stop):
            journal.add(records)
            advance(len(records))
    return all(key in journal for key in by_key)


def _answer_batches(
    batches: Iterator[list[AnyQuestion]],
    answer: Callable[[list[AnyQuestion]], list[Record]],
    workers: int,
    should_stop: Callable[[], bool],
) -> Iterator[list[Record]]:
    """Yields the answers to a batch as soon as they are there, at most `workers` batches under way."""
    if workers == 1:
        for batch in batches:
            if should_stop():
                return
            yield answer(batch)
        return
    with ThreadPoolExecutor(workers) as pool:
        running: set[Future[list[Record]]] = set()
        error: BaseException | None = None
        while True:
            n_new = 0 if error or should_stop() else workers - len(running)
            running |= {pool.submit(answer, batch) for batch in islice(batches, n_new)}
            if not running:
                break
            ready, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ready:
                error = error or future.exception()
                if future.exception() is None:
                    yield future.result()
        if error:
            raise error


def _trim_last_line(path: Path) -> bool:
    """Cuts off a last line without an end; returns whether any line is left."""
    try:
        with path.open("r+b") as file:
            content = file.read()
            end = content.rfind(b"\n") + 1
            if end < len(content):
                file.truncate(end)
    except OSError as error:
        raise InputError(f"{path}: cannot be read and added to ({error.strerror})") from None
    return bool(content[:end].strip())
