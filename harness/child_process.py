"""Child processes that never outlive the harness, however it ends."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

_PR_SET_PDEATHSIG = 1
# Loaded before any fork: between fork and exec a child must not wait for the dynamic linker's lock.
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends. To be given as ``preexec_fn``.

    Context managers stop everything after an exception or Ctrl-C, but nothing in Python runs
    after SIGKILL, so the kernel must do it. The "parent" here is the *thread* that started the
    child: start children from the main thread.
    """
    parent = os.getppid()
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # the parent ended before the kernel was told
        os._exit(1)


@contextmanager
def stopping_waits() -> Iterator[None]:
    """Have Ctrl-C and SIGTERM take effect when the block is left; in the main thread.

    For starting a child that is to be asked to stop: where they interrupt ``Popen`` the child runs,
    and nobody has it.
    """
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for signal_number in came:
            signal.raise_signal(signal_number)
