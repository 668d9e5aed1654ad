"""A training at the terminal: a progress bar, and Ctrl-C that waits for the end of a step."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def progress_columns() -> Progress:
    """Makes a bar on stderr with count, elapsed time, time left and a note; tasks need the field `note`."""
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    return Progress(*columns, console=Console(stderr=True))


@contextmanager
def progress_bar(description: str, total: int) -> Iterator[Callable[..., None]]:
    """Shows a bar on a terminal, and nothing elsewhere; yields `advance(steps=1, note="")`, which moves the bar.

    The note stands behind it, such as the current loss.
    """
    with progress_columns() as progress:
        task = progress.add_task(description, total=total, note="")
        yield lambda steps=1, note="": progress.update(task, advance=steps, note=note)


class Interrupt:
    """A context manager that notes Ctrl-C and SIGTERM instead of ending the process.

    Calling it returns True once one came, the form that `should_stop` of the training functions takes. A second Ctrl-C
    raises KeyboardInterrupt at once; SIGTERM never does, since schedulers send it more than once. Only the main thread
    can use it (Python delivers signals there).
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        """The first signal that came."""

    def __call__(self) -> bool:
        """Returns True once a signal came."""
        return self.requested

    @property
    def requested(self) -> bool:
        """True once a signal came."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """The exit status that a shell expects: 130 after Ctrl-C, 143 after SIGTERM or where another process had it."""
        return 128 + (self.signal or signal.SIGTERM)

    def __enter__(self) -> "Interrupt":
        self._previous = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, signal_number: int, frame: FrameType | None) -> None:
        if self.requested and signal_number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = self.signal or signal_number
