"""SIP calls into Asterisk, placed by SIPp: dialled, answered, and hung up by either side.

SIPp does the signalling only. The RTP that Asterisk sends goes straight to the address each call
names, which is a socket of the harness.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.child_process import die_with_parent
from harness.errors import EnvironmentFault, HarnessFault, InputFault

ANSWER_TIMEOUT_S = 10.0
END_TIMEOUT_S = 5.0

Side = Literal["caller", "asterisk"]

_SCENARIO = Path(__file__).with_name("caller.xml")
_EXIT_CODES = {
    0: "all calls went as they should",
    1: "at least one call failed",
    97: "it was told to stop",
    99: "it ended without having placed a call",
    253: "it met a fatal error: no RTP port",  # SIPp's -3, as the kernel reports it
    254: "it could not bind its port",  # -2
    255: "it met a fatal error",  # -1
}


class CallFailed(HarnessFault):
    """A SIP call was refused, or went another way than the scenario's."""


@dataclass(frozen=True)
class SdpCodec:
    """How a codec is offered in SDP (RFC 3551 and the codec's own RFC)."""

    payload_type: int
    rtpmap: str


SDP_CODECS = {
    "ulaw": SdpCodec(0, "PCMU/8000"),
    "alaw": SdpCodec(8, "PCMA/8000"),
    "g722": SdpCodec(9, "G722/8000"),
    "slin": SdpCodec(96, "L16/8000"),
    "slin16": SdpCodec(97, "L16/16000"),
    "opus": SdpCodec(107, "opus/48000/2"),
}
"""By Asterisk's name of the codec"""


@dataclass(frozen=True)
class CallRequest:
    """A call to be placed: what is dialled, and where its RTP shall go."""

    extension: str
    rtp_address: str
    rtp_port: int
    codec: str = "ulaw"

    @property
    def injection_line(self) -> str:
        """This call's line in SIPp's injection file."""
        if self.codec not in SDP_CODECS:
            raise InputFault(
                f"no SDP is known for the codec {self.codec!r}",
                f"Use one of {', '.join(SDP_CODECS)}.",
            )
        sdp = SDP_CODECS[self.codec]
        fields = (
            self.extension,
            self.rtp_address,
            str(self.rtp_port),
            str(sdp.payload_type),
            sdp.rtpmap,
        )
        return ";".join(fields)


def exit_sentence(code: int) -> str:
    """What SIPp's exit code (or, negative, the signal that ended it) says."""
    if code < 0:
        return f"SIPp was ended by signal {-code}"
    return f"SIPp exited with {code}: {_EXIT_CODES.get(code, 'a code it does not document')}"


def sip_failure(error_log: str) -> str:
    """The lines of SIPp's error log that say why calls failed; the responses alone if any."""
    responses = re.findall(r"received '(SIP/2\.0 [^\r\n']*)", error_log)
    if responses:
        return "Asterisk answered: " + "; ".join(dict.fromkeys(responses))
    lines = [line.strip() for line in error_log.splitlines() if line.strip()]
    return "\n  ".join(lines[-5:]) or "It left no error message."


class SipCall:
    """One call. Made by `place_calls`."""

    def __init__(self, request: CallRequest, call_id: str, calls: _SippRun) -> None:
        self.request = request
        self.call_id = call_id
        """the SIP Call-ID, by which Asterisk's log and dialplan know this call too"""
        self._calls = calls
        self._local_port = 0
        self._answered = False
        self._ended_by: Side | None = None

    async def answered(self, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """Until Asterisk has answered the call (200 OK)."""
        await self._calls.wait_for(lambda: self._answered, f"{self} was not answered", timeout_s)

    async def hang_up(self, timeout_s: float = END_TIMEOUT_S) -> None:
        """Hang up as the caller, now: BYE, or CANCEL if the call is not answered yet.

        Returns when Asterisk has confirmed it. A call that has ended is left alone.
        """
        await self._calls.wait_for(
            lambda: self._local_port != 0, f"{self} was not dialled", timeout_s
        )
        if self._ended_by is not None:
            return
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            address = (self._calls.local_address, self._local_port)
            sender.sendto(_hang_up_request(self.call_id), address)
        await self.ended(timeout_s)

    async def ended(self, timeout_s: float = END_TIMEOUT_S) -> Side:
        """Until the call is over: who hung up."""
        await self._calls.wait_for(
            lambda: self._ended_by is not None, f"{self} did not end", timeout_s
        )
        assert self._ended_by is not None
        return self._ended_by

    def __str__(self) -> str:
        return f"the call to {self.request.extension} (Call-ID {self.call_id})"

    def _reached(self, stage: str, argument: str) -> None:
        if stage == "dialled":
            self._local_port = int(argument)
        elif stage == "answered":
            self._answered = True
        elif stage == "ended":
            self._ended_by = "caller" if argument == "caller" else "asterisk"


@asynccontextmanager
async def place_calls(
    address: str,
    port: int,
    requests: Sequence[CallRequest],
    folder: Path,
    calls_per_second: int = 50,
) -> AsyncIterator[list[SipCall]]:
    """Place a call for each request to the Asterisk at ``address``:``port``, over UDP.

    Yields as soon as SIPp runs: wait for `SipCall.answered` before anything else that only comes
    with an answered call, because it fails at once when the call fails. Leaving hangs up what is
    still up. SIPp's files go to ``folder``: sip.log (all messages), sip-errors.log,
    sip-calls.csv. Raises CallFailed, with the SIP response that says why.
    """
    run = _SippRun(address, folder)
    token = secrets.token_hex(4)
    # SIPp numbers its calls from 1, and takes a line of the injection file for each in order.
    run.calls = [
        SipCall(request, f"{number}-{token}", run) for number, request in enumerate(requests, 1)
    ]
    await run.start(port, f"%u-{token}", calls_per_second)
    try:
        yield run.calls
        await run.hang_up_all()
        await run.check_exit()
    except HarnessFault as fault:
        # Whatever was waited for in vain: when a call failed, that is the reason to name.
        if run.failed and not isinstance(fault, CallFailed):
            raise run.failure("a call failed") from fault
        raise
    finally:
        with suppress(HarnessFault):
            await run.hang_up_all()
        await run.stop()


class _SippRun:
    """The SIPp process behind a number of calls."""

    def __init__(self, local_address: str, folder: Path) -> None:
        self.local_address = local_address
        self.calls: list[SipCall] = []
        self._error_log = folder / "sip-errors.log"
        self._message_log = folder / "sip.log"
        self._injection_file = folder / "sip-calls.csv"
        self._changed = asyncio.Condition()
        self._exit_code: int | None = None

    async def start(self, port: int, call_id_pattern: str, calls_per_second: int) -> None:
        program = shutil.which("sipp")
        if not program:
            raise EnvironmentFault("SIPp is not installed", "apt-get install sip-tester")
        self._injection_file.write_text(
            "\n".join(["SEQUENTIAL", *(call.request.injection_line for call in self.calls), ""])
        )
        # A log file that was written by an earlier SIPp must not explain this one's failure.
        self._error_log.unlink(missing_ok=True)
        count = str(len(self.calls))
        # SIPp writes its <log> lines to a file; through this name the file is our pipe, so a
        # stage is known the moment it is reached.
        log_read, log_write = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(program, f"{self.local_address}:{port}", "-sf", str(_SCENARIO)),
                *("-i", self.local_address, "-bind_local", "-ci", self.local_address),
                *("-inf", str(self._injection_file), "-cid_str", call_id_pattern),
                *("-m", count, "-l", count, "-r", str(calls_per_second)),
                *("-trace_logs", "-log_file", f"/dev/fd/{log_write}"),
                *("-trace_msg", "-message_file", str(self._message_log)),
                *("-trace_err", "-error_file", str(self._error_log)),
                "-nostdin",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                pass_fds=(log_write,),
                # Ctrl-C is for the harness, which then hangs up.
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        except BaseException:
            os.close(log_read)
            raise
        finally:
            os.close(log_write)
        self._watcher = asyncio.create_task(self._watch(log_read))

    async def _watch(self, log_read: int) -> None:
        stages = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stages), os.fdopen(log_read, "rb")
        )
        by_id = {call.call_id: call for call in self.calls}
        async for line in stages:
            stage, call_id, argument = line.decode().split()
            by_id[call_id]._reached(stage, argument)
            await self._notify()
        transport.close()
        self._exit_code = await self._process.wait()
        await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def wait_for(self, condition: Callable[[], bool], failure: str, timeout_s: float) -> None:
        """Until the condition holds; HarnessFault on time-out, CallFailed when SIPp ends before."""

        async def reached() -> None:
            async with self._changed:
                await self._changed.wait_for(lambda: condition() or self._exit_code is not None)

        try:
            await asyncio.wait_for(reached(), timeout_s)
        except asyncio.TimeoutError:
            raise HarnessFault(
                f"{failure} within {timeout_s:g} s", f"See {self._message_log}."
            ) from None
        if not condition():
            raise self.failure(failure)

    @property
    def failed(self) -> bool:
        """Whether SIPp has ended before all calls came to their end."""
        return self._exit_code is not None and not all(call._ended_by for call in self.calls)

    def failure(self, what: str) -> CallFailed:
        """The error to raise once SIPp has ended."""
        assert self._exit_code is not None
        error_log = self._error_log.read_text() if self._error_log.exists() else ""
        return CallFailed(
            f"{what}: {exit_sentence(self._exit_code)}. {sip_failure(error_log)}",
            f"See {self._message_log}.",
        )

    async def hang_up_all(self) -> None:
        """Hang up the calls that have not ended, so that Asterisk does not keep them."""
        if self._exit_code is None:
            await asyncio.gather(*(call.hang_up() for call in self.calls))

    async def check_exit(self) -> None:
        """Let SIPp end by itself; CallFailed if a call has not come to its end.

        When all have, SIPp's exit code is not asked: it is 1, too, if it was told to hang up in
        the very moment in which Asterisk did.
        """
        await self.wait_for(
            lambda: self._exit_code is not None, "SIPp did not end with its calls", END_TIMEOUT_S
        )
        if self.failed:
            raise self.failure("a call failed")

    async def stop(self) -> None:
        """End SIPp if it still runs."""
        if self._exit_code is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        await self._watcher


def _hang_up_request(call_id: str) -> bytes:
    return (
        "HANGUP sip:caller SIP/2.0\r\n"
        "Via: SIP/2.0/UDP harness;branch=z9hG4bK-hangup\r\n"
        "From: <sip:harness>;tag=harness\r\n"
        "To: <sip:caller>\r\n"
        f"Call-ID: {call_id}\r\n"
        "CSeq: 1 HANGUP\r\n"
        "Content-Length: 0\r\n"
        "\r\n"
    ).encode()
