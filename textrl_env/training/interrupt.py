"""Ctrl-C and SIGTERM that wait for the end of a step, so that what was trained can be saved."""

import signal
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """A context manager that notes Ctrl-C and SIGTERM instead of ending the process.

    Calling it says whether one came, in the form that `should_stop` of the training functions takes. A second Ctrl-C
    raises KeyboardInterrupt at once; SIGTERM never does, since schedulers send it more than once. Only the main thread
    can use it (Python delivers signals there).
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        """The first that came."""

    def __call__(self) -> bool:
        return self.requested

    @property
    def requested(self) -> bool:
        """Whether a signal came."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """What a shell says of a process that ended so: 130 after Ctrl-C, 143 after SIGTERM or where another had it."""
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
