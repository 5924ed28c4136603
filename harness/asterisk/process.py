"""The process of a running Asterisk: started, watched for a crash, and stopped for certain."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from harness.child_process import die_with_parent, stopping_waits
from harness.errors import HarnessFault, ProductFault

STOP_TIMEOUT_S = 5.0
"""for each of: stopping when asked, SIGTERM, SIGKILL"""
_CRASHES = frozenset(
    {
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGSEGV,
        signal.SIGSYS,
        signal.SIGTRAP,
    }
)


class AsteriskCrashed(ProductFault):
    """Asterisk ended by a signal that a program gives to itself by what it does wrong."""

    kind = "Asterisk crashed"


class AsteriskHangs(ProductFault):
    """Asterisk runs, and its console is silent: a deadlock, or somebody has stopped it."""

    kind = "Asterisk hangs"


class AsteriskEnded(HarnessFault):
    """Asterisk ended, by itself or by somebody's signal. Its log must say why."""

    kind = "Asterisk ended"


class AsteriskProcess:
    """A process in the foreground that ends when Asterisk does: Asterisk itself, natively.

    It is a session of its own, so that Ctrl-C reaches the harness alone, which then stops it; the
    kernel kills it if the harness ends without having been able to. Start it in the main thread:
    the kernel ties its life to the thread that started it.
    """

    def __init__(self, version: str, folder: Path, environment: Mapping[str, str] | None) -> None:
        """``environment`` is added to this process's own for it."""
        self.version = version
        self._folder = folder
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Asterisk's log file."""
        return self._folder / "log" / "asterisk.log"

    @property
    def _output(self) -> Path:
        """What Asterisk writes to its standard output: what comes before it has a log."""
        return self._folder / "log" / "asterisk-output.log"

    @property
    def pid(self) -> int:
        """Of the process. Once it has been started."""
        return self._started.pid

    def start(self, command: Sequence[str]) -> None:
        """Run Asterisk by this command."""
        with self._output.open("ab") as output, stopping_waits():
            self._process = subprocess.Popen(
                die_with_parent(command),
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check_alive(self, within_s: float = 0.0) -> None:
        """Raise AsteriskCrashed or AsteriskEnded, with the end of the log, if the process is gone.

        It is given ``within_s`` to be gone: its connections end before it does.
        """
        try:
            code = self._started.wait(within_s)
        except subprocess.TimeoutExpired:
            return
        ended_by = self.ended_by(code)
        how = f"was ended by {ended_by.name}" if ended_by else f"exited with {code}"
        cores = ", ".join(str(core) for core in self._folder.glob("core*"))
        kind = AsteriskCrashed if ended_by in _CRASHES else AsteriskEnded
        raise kind(
            f"Asterisk {self.version} (process {self.pid}) {how}"
            + (f"; core dump: {cores}" if cores else ""),
            f"The end of its log:{log_tail(self.log)}{log_tail(self._output)}",
        )

    def stop(self, ask: Callable[[], object]) -> None:
        """End it: by ``ask``, then by SIGTERM, then by force. Ended or not started is fine."""
        process = self._process
        if process is None or process.poll() is not None:
            return

        def ask_it() -> None:
            # It may be hung, or not listen yet: the next step is harder.
            with suppress(HarnessFault):
                ask()

        for step in (ask_it, process.terminate, self.kill):
            step()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                continue
            if step is ask_it and process.returncode != 0:
                self.check_alive()  # a crash on the way out is a crash, too
            return
        raise HarnessFault(
            f"Asterisk (process {process.pid}) could not be ended", "Even SIGKILL did not end it."
        )

    def ended_by(self, code: int) -> signal.Signals | None:
        """The signal that ended Asterisk, if one did, by the exit code of the process."""
        return signal.Signals(-code) if code < 0 else None

    def kill(self) -> None:
        """End Asterisk without asking."""
        self._started.kill()

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process


def log_tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, each on a line of its own, for the end of a message."""
    if not log.exists():
        return ""
    last = log.read_text(errors="backslashreplace").splitlines()[-lines:]
    return "".join(f"\n    {line}" for line in last)
