"""A progress bar with the time that is left, on a terminal; silent elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def progress_columns() -> Progress:
    """A bar on stderr with count, elapsed time, time left and a note; tasks need the field `note`."""
    columns = (
        TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    return Progress(*columns, console=Console(stderr=True))


@contextmanager
def progress_bar(description: str, total: int) -> Iterator[Callable[..., None]]:
    """Yields `advance(steps=1, note="")`, which moves the bar and shows a note such as the current loss."""
    with progress_columns() as progress:
        task = progress.add_task(description, total=total, note="")
        yield lambda steps=1, note="": progress.update(task, advance=steps, note=note)
