"""A busy host, for scenarios that are to hold on one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from harness.child_process import die_with_parent
from harness.errors import HarnessFault

LOAD_MAX_S = 60.0
# The alarm ends it even when nobody else does; it says when it runs, so that its start is over.
_BUSY = (
    "import os, signal, sys; signal.alarm(int(sys.argv[1])); os.write(1, b'.')\nwhile True: pass"
)


@contextmanager
def cpu_load(cores: int, max_s: float = LOAD_MAX_S) -> Iterator[None]:
    """Keep so many processors busy with ordinary processes (SCHED_OTHER, nice 0).

    All of them run when the block is entered, and none when it is left. Which processors they get
    is the kernel's business, as with any program. They end by themselves after ``max_s`` seconds,
    or when the harness ends. Enter it in the main thread, see `die_with_parent`.
    """
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(cores):
            processes.append(
                subprocess.Popen(
                    die_with_parent(
                        [sys.executable, "-I", "-S", "-c", _BUSY, str(max(1, round(max_s)))]
                    ),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    start_new_session=True,
                )
            )
        for process in processes:
            assert process.stdout is not None
            if process.stdout.read(1) != b".":
                raise HarnessFault(f"a process for load ended with {process.wait()}")
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
