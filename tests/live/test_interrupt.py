"""Ctrl-C in the middle of a call: everything that was started is stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from harness.install.build import Build

pytestmark = pytest.mark.slow

PROC = Path("/proc")
TIMEOUT_S = 30.0


def stat(pid: int) -> tuple[int, str, str] | None:
    """Parent, state and start time of a process; None when there is none of this id."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, parent, *rest = text.rpartition(")")[2].split()
    return int(parent), state, rest[17]


def program(pid: int) -> str:
    """Name of the program that a process runs."""
    return (PROC / str(pid) / "comm").read_text().strip()


def descendants(root: int) -> set[int]:
    """All processes below ``root``."""
    parents = {
        int(entry.name): found[0]
        for entry in PROC.iterdir()
        if entry.name.isdigit() and (found := stat(int(entry.name)))
    }
    below = {root}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return below - {root}


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert process.poll() is None, "the command ended by itself"
        assert time.monotonic() < deadline, "the call was not up in time"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_interrupted_demo_leaves_no_process_behind(build: Build, number: signal.Signals) -> None:
    def call_is_up() -> bool:
        return any("answered" in log.read_text(errors="replace") for log in asterisk_logs())

    def asterisk_logs() -> list[Path]:
        # Asterisk runs in the folder of its run.
        logs = []
        for pid in descendants(process.pid):
            with suppress(FileNotFoundError, ProcessLookupError):  # ended meanwhile
                if program(pid) == "asterisk":
                    logs.append((PROC / str(pid) / "cwd").readlink() / "log" / "asterisk.log")
        return [log for log in logs if log.exists()]

    process = subprocess.Popen(
        [Path(sys.executable).with_name("harness"), "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until(call_is_up, process)
        started = {pid: found[2] for pid in descendants(process.pid) if (found := stat(pid))}
        assert {"asterisk", "sipp"} <= {program(pid) for pid in started}
        process.send_signal(number)
        _, errors = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "interrupted; everything that was started is stopped" in errors
    left = {pid: found for pid in started if (found := stat(pid)) and found[2] == started[pid]}
    assert left == {}
