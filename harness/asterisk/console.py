"""Asterisk's console: commands to a running instance, and their output.

Each command is an ``asterisk -rx`` of its own under pexpect: its output then is that of the
command alone, where an attached console mixes it with log lines and prompts.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pexpect

from harness.errors import HarnessFault

COMMAND_TIMEOUT_S = 10.0
_POLL_S = 0.01
_REFUSED = re.compile(r"^(No such command|Usage:|The module '.*' was not properly)", re.MULTILINE)


class NotAnswered(HarnessFault):
    """Asterisk took the command, it seems, and does not answer it in time."""


class Console:
    """The console of one running Asterisk."""

    def __init__(
        self,
        asterisk: Sequence[str],
        control_socket: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``asterisk`` is the command that, with ``-rx <command>``, reaches this Asterisk.

        It needs no ``environment``, but the client of a container engine may.
        """
        self._asterisk = asterisk
        self._control_socket = control_socket
        self._environment = {"PATH": "", **(environment or {}), "TERM": "dumb"}

    @property
    def attach_command(self) -> str:
        """What to type to get to this console."""
        return shlex.join([*self._asterisk, "-rvvv"])

    def run(self, command: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """The output of a console command, without trailing white space.

        Raises HarnessFault, with the output so far, when Asterisk cannot be reached, does not
        answer in time (NotAnswered), or refuses the command. An output that reports failure in a
        command's own words is for the caller to read.
        """
        output, reached = self._execute(command, timeout_s)
        if not reached or _REFUSED.search(output):
            raise HarnessFault(f"console command {command!r} failed", _last_output(output))
        return output

    def running_modules(self) -> set[str]:
        """The names of the modules that run."""
        lines = self.run("module show").splitlines()
        return {line.split()[0] for line in lines if " Running " in line}

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
            output, reached = self._execute(
                "core waitfullybooted", max(deadline - time.monotonic(), _POLL_S)
            )
            if reached and "fully booted" in output:
                return
        raise HarnessFault(
            f"Asterisk was not fully booted after {timeout_s:g} s", _last_output(output)
        )

    def _execute(self, command: str, timeout_s: float) -> tuple[str, bool]:
        """What is printed, and whether Asterisk was reached."""
        child = pexpect.spawn(
            self._asterisk[0],
            [*self._asterisk[1:], "-rx", command],
            encoding="utf-8",
            codec_errors="backslashreplace",
            echo=False,
            timeout=timeout_s,
            # A terminal wide enough that no table is broken, and too dumb for colours.
            dimensions=(50, 500),
            env=self._environment,
        )
        # The pause (0.1 s) before closing a child that may still be writing: ours has ended.
        child.ptyproc.delayafterclose = 0  # type: ignore[attr-defined]  # missing in the stubs
        try:
            child.expect(pexpect.EOF)
            child.wait()
        except pexpect.TIMEOUT:
            raise NotAnswered(
                f"console command {command!r} was not answered within {timeout_s:g} s",
                _last_output(child.before or ""),
            ) from None
        finally:
            child.close(force=True)
        output = str(child.before).replace("\r\n", "\n").rstrip()
        # Nothing else makes it end with another code, nor the client of a container engine.
        return output, child.exitstatus == 0


def _last_output(output: str, lines: int = 15) -> str:
    tail = output.strip().splitlines()[-lines:]
    return "The console's last output: " + ("\n    ".join(["", *tail]) if tail else "none.")


def hang_up_caller(console: Console, call_id: str) -> str:
    """Have Asterisk kill the caller's channel of the SIP call ``call_id``; the channel's name.

    Blocks: use a thread beside an event loop. HarnessFault when the call has no such channel.
    """
    channels = console.run("core show channels concise")
    names = [line.partition("!")[0] for line in channels.splitlines()]
    for name in (name for name in names if name.startswith("PJSIP/")):
        # Inherited by all channels of a call; the dialplan sets it.
        if f"SIP_CALL_ID={call_id}" in console.run(f"core show channel {name}").split():
            console.run(f"channel request hangup {name}")
            return name
    raise HarnessFault(
        f"the call {call_id} has no caller's channel that could be hung up",
        f"Asterisk's channels: {channels or 'none'}",
    )
