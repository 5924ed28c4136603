"""Calls of all processes on a host share it, and one that is measured again has it to itself.

Any number of calls may be up at once, as far as the host carries them. Where it does not, a call's
measurement turns out unreliable, and is repeated `alone`: it begins when no other call is up, and
none begins before it is over. So the less a host carries, the fewer calls are side by side on it.

This is between processes of one user, and a matter of precision, not of truth: whoever would have
to wait too long, for a process that hangs, goes ahead.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

LONGEST_WAIT_S = 60.0
"""about as long as the longest call of a scenario takes"""
_POLL_S = 0.01


class HostLock:
    """A lock on the host that many processes can share, or one can have alone."""

    def __init__(self, folder: Path, longest_wait_s: float = LONGEST_WAIT_S) -> None:
        self._folder = folder
        self._longest_wait_s = longest_wait_s
        self._files: tuple[int, ...] = ()
        self._deadline = 0.0
        self._held = False
        self._calls = 0
        """of this process, which have the lock together"""
        self._alone = False

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """The host for a call, beside others; not before one is over that needs it alone."""
        self._calls += 1
        try:
            while not self._try(fcntl.LOCK_SH):
                await asyncio.sleep(_POLL_S)
            yield
        finally:
            self._calls -= 1
            if not self._calls and not self._alone:
                self._release()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """The host for the calls of the block, and for no other process's.

        Not to be entered while a call of this process is up.
        """
        try:
            while not self._try(fcntl.LOCK_EX):
                time.sleep(_POLL_S)
            self._alone = True
            yield
        finally:
            self._alone = False
            self._release()

    def _try(self, operation: int) -> bool:
        """Whether it is held now; to be called again until it is."""
        if self._held:
            return True
        if not self._files:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            # However a process ends, its files are closed, and so the lock is released.
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._files = tuple(
                os.open(self._folder / name, flags, 0o600) for name in ("waiting", "calls")
            )
            self._deadline = time.monotonic() + self._longest_wait_s
        # Who waits is served in turn: else calls that share the host could for ever keep it from
        # one that needs it alone.
        waiting, calls = self._files
        locked = _locked(waiting, fcntl.LOCK_EX) and _locked(calls, operation)
        if locked or time.monotonic() >= self._deadline:
            fcntl.flock(waiting, fcntl.LOCK_UN)
            self._held = True
        return self._held

    def _release(self) -> None:
        self._held = False
        for file in self._files:
            os.close(file)
        self._files = ()


def _locked(file: int, operation: int) -> bool:
    try:
        fcntl.flock(file, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


HOST = HostLock(Path(tempfile.gettempdir()) / f"playback-marks-{os.getuid()}")
"""This host's"""
