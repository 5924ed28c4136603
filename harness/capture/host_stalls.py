"""Host stalls: moments in which a processor did not run what was due, busy or itself kept off.

One small process for each processor sleeps a millisecond at a time and notes each time it woke up
late. What Asterisk does late in such a moment says nothing about Asterisk. That holds as long as
both have the same priority: what keeps others waiting need not keep a real-time process.

Run as a script, with a processor's number, scheduling policy and priority, this file is that
process: it uses nothing of the harness and writes a line ``<begin> <end>`` in Unix time, ns, for
each stall until it is ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SLEEP_NS = 1_000_000
SHORTEST_NS = 300_000
"""a wake-up this late is noted; it usually takes 60 us"""
_STOP_TIMEOUT_S = 2.0


class HostStallWatch:
    """The host stalls since it was started. Made by `watch_host_stalls`."""

    def __init__(self, files: list[Path]) -> None:
        self._files = files

    def between(self, begin_ns: int, end_ns: int) -> list[tuple[int, int]]:
        """Begin and end of each host stall that overlaps this span of Unix time, by their begin."""
        stalls = []
        for file in self._files:
            # The last line may be half written; its stall is younger than what is asked for.
            for line in file.read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    begin, end = (int(word) for word in line.split())
                    if begin < end_ns and end > begin_ns:
                        stalls.append((begin, end))
        return sorted(stalls)


@contextmanager
def watch_host_stalls(folder: Path, pid: int = 0) -> Iterator[HostStallWatch]:
    """Watch every processor that this process may use; the notes are kept in ``folder``.

    Those who watch have the scheduling policy and priority of the process ``pid``, by default this
    one's. While some watch already for this process with the same, all share these, and their notes
    stay where they are.
    """
    scheduling = (os.sched_getscheduler(pid), os.sched_getparam(pid).sched_priority)
    if scheduling not in _watchers:
        _watchers[scheduling] = _Watchers(folder, scheduling)
    watchers = _watchers[scheduling]
    watchers.users += 1
    try:
        yield HostStallWatch(watchers.files)
    finally:
        watchers.users -= 1
        if not watchers.users:
            del _watchers[scheduling]
            watchers.stop()


class _Watchers:
    """The processes that watch, one for each processor."""

    def __init__(self, folder: Path, scheduling: tuple[int, int]) -> None:
        from harness.child_process import die_with_parent

        self.users = 0
        self.files: list[Path] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            for processor in sorted(os.sched_getaffinity(0)):
                file = folder / f"host_stalls-{processor}.txt"
                arguments = map(str, (processor, *scheduling))
                command = [sys.executable, "-I", "-S", __file__, *arguments]
                with file.open("wb") as output:
                    self._processes.append(
                        subprocess.Popen(
                            die_with_parent(command),
                            stdin=subprocess.DEVNULL,
                            stdout=output,
                            start_new_session=True,
                        )
                    )
                self.files.append(file)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(_STOP_TIMEOUT_S)


_watchers: dict[tuple[int, int], _Watchers] = {}
"""of this process, by their scheduling policy and priority"""


def _watch(processor: int, policy: int, priority: int) -> None:
    os.sched_setaffinity(0, {processor})
    if (policy, priority) != (os.sched_getscheduler(0), os.sched_getparam(0).sched_priority):
        os.sched_setscheduler(0, policy, os.sched_param(priority))
    now_ns = time.time_ns()
    while True:
        # From the last look on: nothing that happens between two sleeps is to go unseen.
        due_ns = now_ns + _SLEEP_NS
        time.sleep(_SLEEP_NS / 1e9)
        now_ns = time.time_ns()
        if now_ns - due_ns >= SHORTEST_NS:
            os.write(1, f"{due_ns} {now_ns}\n".encode())


if __name__ == "__main__":
    _watch(*map(int, sys.argv[1:]))
