"""Ctrl-C waits until a child that is being started is somebody's."""

from __future__ import annotations

import signal

import pytest

from harness.child_process import stopping_waits


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_takes_effect_when_the_block_is_left(number: signal.Signals) -> None:
    def stop(given: int, frame: object) -> None:
        raise KeyboardInterrupt

    done = False
    before = signal.signal(number, stop)
    try:
        with pytest.raises(KeyboardInterrupt), stopping_waits():
            signal.raise_signal(number)
            done = True
        assert done
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, before)


def test_without_a_signal_nothing_happens_and_errors_pass() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stopping_waits():
        pass
    with pytest.raises(OSError, match="no such program"), stopping_waits():
        raise OSError("no such program")
    assert signal.getsignal(signal.SIGINT) is before
