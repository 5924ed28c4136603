"""A child does not outlive its parent, and Ctrl-C waits until it is somebody's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from harness.child_process import die_with_parent, stopping_waits

_PARENT = """
import subprocess, sys
from harness.child_process import die_with_parent
subprocess.run(die_with_parent([sys.executable, "-c", sys.argv[1]]))
"""
_CHILD = "import os, signal; os.write(1, b'runs\\n'); signal.pause()"


def test_a_child_is_killed_with_its_parent() -> None:
    command = [sys.executable, "-c", _PARENT, _CHILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "runs\n"
        os.kill(parent.pid, signal.SIGKILL)
        # The child has the pipe, too: it is closed when both are gone.
        assert parent.stdout.read() == ""


def test_the_process_is_the_commands_own() -> None:
    with subprocess.Popen(
        die_with_parent([sys.executable, "-c", "import os; print(os.getpid())"]),
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert int(child.stdout.read()) == child.pid


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        die_with_parent(["no-such-program", "--option"])
    assert caught.value.filename == "no-such-program"


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
