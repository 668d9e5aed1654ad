"""Ctrl-C and SIGTERM are noted, not raised; a second Ctrl-C is raised."""

import os
import signal

import pytest

from textrl_env.training import Interrupt


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_noted_and_decides_the_exit_code(number: int, code: int) -> None:
    before = signal.getsignal(number)
    with Interrupt() as stop:
        assert not stop() and not stop.requested
        os.kill(os.getpid(), number)
        assert stop() and stop.requested and stop.exit_code == code
        # A scheduler that sends SIGTERM again does not cut the saving short.
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.exit_code == code
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_is_raised_at_once() -> None:
    with Interrupt() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
