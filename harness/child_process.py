"""Child processes that never outlive the harness, however it ends."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.errors import EnvironmentFault


def die_with_parent(command: Sequence[str]) -> list[str]:
    """The command to start instead of ``command``, so that the kernel kills it with its parent.

    Context managers stop everything after an exception or Ctrl-C, but nothing in Python runs
    after SIGKILL, so the kernel must do it. The "parent" here is the *thread* that starts the
    child: it must live as long as the child is to. setpriv(1) replaces itself by the command, so
    the process is the command's; no Python code runs between fork and exec, where it is not safe
    in a process with threads.

    Raises FileNotFoundError, as Popen would, when there is no such program in the PATH, and
    EnvironmentFault when there is no setpriv.
    """
    program = command[0]
    if "/" not in program and shutil.which(program) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)
    if shutil.which("setpriv") is None:
        raise EnvironmentFault("there is no setpriv", "Install util-linux 2.33 or newer.")
    return ["setpriv", "--pdeathsig", "KILL", "--", *command]


def cpu_seconds(pid: int) -> float:
    """The time of a processor that a process, with all its threads, has used so far."""
    # Fields 14 and 15 of proc(5), counted behind the name, which may hold anything.
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


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
