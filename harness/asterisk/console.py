"""Asterisk's console: commands to a running instance, and their answers.

Each command is an ``asterisk -rx`` of its own under pexpect: its output then is the answer and
nothing else, where an attached console mixes the answers with log lines and prompts.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pexpect

from harness.errors import HarnessFault

COMMAND_TIMEOUT_S = 10.0
_POLL_S = 0.01
_NO_PROCESS = re.compile(r"Unable to connect to remote asterisk")
_REFUSED = re.compile(r"^(No such command|Usage:|The module '.*' was not properly)", re.MULTILINE)


class Console:
    """The console of the instance that was started with this asterisk.conf."""

    def __init__(self, binary: Path, asterisk_conf: Path, control_socket: Path) -> None:
        self._binary = binary
        self._asterisk_conf = asterisk_conf
        self._control_socket = control_socket

    def run(self, command: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """The answer to a console command, without trailing white space.

        Raises HarnessFault, with the output so far, when Asterisk cannot be reached, does not
        answer in time, or refuses the command. An answer that reports failure in a command's own
        words is the caller's to read.
        """
        output = self._execute(command, timeout_s)
        if _NO_PROCESS.search(output) or _REFUSED.search(output):
            raise HarnessFault(f"console command {command!r} failed", _last_output(output))
        return output

    def wait_fully_booted(self, check_alive: Callable[[], None], timeout_s: float) -> None:
        """Until every module is loaded and calls are taken.

        ``check_alive`` is called again and again and raises when there is no point in waiting.
        """
        deadline = time.monotonic() + timeout_s
        output = f"It never opened {self._control_socket}."
        while time.monotonic() < deadline:
            check_alive()
            if not self._control_socket.exists():
                # Nothing tells us when the socket appears; the condition is looked at again.
                time.sleep(_POLL_S)
                continue
            output = self._execute(
                "core waitfullybooted", max(deadline - time.monotonic(), _POLL_S)
            )
            if "fully booted" in output:
                return
        raise HarnessFault(
            f"Asterisk was not fully booted after {timeout_s:g} s", _last_output(output)
        )

    def _execute(self, command: str, timeout_s: float) -> str:
        child = pexpect.spawn(
            str(self._binary),
            ["-C", str(self._asterisk_conf), "-rx", command],
            encoding="utf-8",
            codec_errors="backslashreplace",
            echo=False,
            timeout=timeout_s,
            # A terminal wide enough that no table is broken, and too dumb for colours.
            dimensions=(50, 500),
            env={"TERM": "dumb", "PATH": ""},
        )
        # The pause (0.1 s) before closing a child that may still be writing: ours has ended.
        child.ptyproc.delayafterclose = 0  # type: ignore[attr-defined]  # missing in the stubs
        try:
            child.expect(pexpect.EOF)
        except pexpect.TIMEOUT:
            raise HarnessFault(
                f"console command {command!r} was not answered within {timeout_s:g} s",
                _last_output(child.before or ""),
            ) from None
        finally:
            child.close(force=True)
        return str(child.before).replace("\r\n", "\n").rstrip()


def _last_output(output: str, lines: int = 15) -> str:
    tail = output.strip().splitlines()[-lines:]
    return "The console's last output: " + ("\n    ".join(["", *tail]) if tail else "none.")
