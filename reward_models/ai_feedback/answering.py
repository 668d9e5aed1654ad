"""Questions of any kind to whoever answers them: batch by batch, in threads where that helps, each answer kept."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Protocol, TypeVar

from textrl_env.reward_models.ai_feedback.journal import Journal, Record
from textrl_env.training import progress_bar


class Keyed(Protocol):
    """A question that has a name."""

    def key(self, who: str) -> str: ...


class Answerer(Protocol):
    """Who answers, a judge or a reviser, and how it is asked."""

    @property
    def name(self) -> str:
        """Goes into the column `annotator`."""

    @property
    def identity(self) -> str:
        """What its answers depend on besides the question: an answer on the disk counts for the same identity only."""

    @property
    def batch_size(self) -> int:
        """Questions that it takes best at once."""

    @property
    def workers(self) -> int:
        """Batches that it can answer at the same time, from threads of their own."""


Asked = TypeVar("Asked", bound=Keyed)


def answer_all(
    questions: Sequence[Asked],
    who: Answerer,
    answer: Callable[[list[Asked]], list[Record]],
    journal: Journal,
    *,
    description: str,
    should_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Adds the answers that the journal lacks; whether it has all of them now.

    An error in one batch ends the asking, after those under way have come in: what was answered is in the journal.

    Args:
        questions: any number; equal ones are asked once.
        who: says how many at once, and from how many threads.
        answer: a batch's records, a `key` in each.
        journal: what is there is not asked again.
        description: of the progress bar.
        should_stop: asked before every batch; True ends the asking early.
    """
    keyed = {question.key(who.identity): question for question in questions}
    open_questions = [question for key, question in keyed.items() if key not in journal]
    batches = iter(
        [open_questions[start : start + who.batch_size] for start in range(0, len(open_questions), who.batch_size)]
    )
    with progress_bar(description, len(keyed)) as advance:
        advance(len(keyed) - len(open_questions))
        for records in _answers(batches, answer, who.workers, should_stop):
            journal.add(records)
            advance(len(records))
    return all(key in journal for key in keyed)


def _answers(
    batches: Iterator[list[Asked]],
    answer: Callable[[list[Asked]], list[Record]],
    workers: int,
    should_stop: Callable[[], bool],
) -> Iterator[list[Record]]:
    """Each batch's answers as soon as they are there, at most `workers` batches under way."""
    if workers == 1:
        for batch in batches:
            if should_stop():
                return
            yield answer(batch)
        return
    with ThreadPoolExecutor(workers) as pool:
        under_way: set[Future[list[Record]]] = set()
        error: BaseException | None = None
        while True:
            wanted = 0 if error or should_stop() else workers - len(under_way)
            under_way |= {pool.submit(answer, batch) for batch in islice(batches, wanted)}
            if not under_way:
                break
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                error = error or future.exception()
                if future.exception() is None:
                    yield future.result()
        if error:
            raise error
