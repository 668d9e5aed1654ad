"""Ctrl-C that waits for the end of a step, so that what was trained can be saved."""

import signal
from types import FrameType


class Interrupt:
    """A context manager that notes Ctrl-C instead of raising; a second one raises KeyboardInterrupt at once.

    Calling it says whether Ctrl-C came, in the form that `should_stop` of the training functions takes. Only the main
    thread can use it (Python delivers signals there).
    """

    def __init__(self) -> None:
        self.requested = False

    def __call__(self) -> bool:
        return self.requested

    def __enter__(self) -> "Interrupt":
        self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._previous)

    def _handle(self, signal_number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
