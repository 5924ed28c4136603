"""SIP calls with Asterisk, by SIPp: dialled or taken, answered, and hung up by either side.

SIPp does the signalling only. The RTP that Asterisk sends goes straight to the address each call
names, which is a socket of the harness.

The packaged SIPp can authenticate itself, but speaks no TLS, and over TCP could not be told to hang
up. So it always speaks UDP, and `open_relay` puts that on the stream.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.caller.rtp_sender import RtpTarget
from harness.caller.sip_peer import SipPeer, local_address_towards
from harness.caller.sip_stream import Relay, open_relay
from harness.child_process import die_with_parent
from harness.errors import EnvironmentFault, HarnessFault, InputFault
from harness.media.codecs import SDP_CODECS, codec_named

ANSWER_TIMEOUT_S = 10.0
END_TIMEOUT_S = 5.0

Side = Literal["caller", "asterisk"]

INVITE_TIMEOUT_S = 10.0
"""for the PBX to call us when it was asked to"""
_BIND_TIMEOUT_S = 5.0
_BIND_POLL_S = 0.005

_CALLER = Path(__file__).with_name("caller.xml")
_CALLEE = Path(__file__).with_name("callee.xml")
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
class CallRequest:
    """A call to be placed: what is dialled, and where its RTP shall go."""

    extension: str
    rtp_address: str
    rtp_port: int
    codec: str = "ulaw"

    @property
    def injection_line(self) -> str:
        """This call's line in SIPp's injection file."""
        sdp = SDP_CODECS[codec_named(self.codec).name]
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
    responses = []
    for status, header in re.findall(r"received '(SIP/2\.0 [^\r\n']*)([^']*)", error_log):
        reason = re.search(r"^Reason: *([^\r\n]*)", header, re.MULTILINE)
        responses.append(f"{status} (reason {reason[1]})" if reason else status)
    if responses:
        return "Asterisk answered: " + "; ".join(dict.fromkeys(responses))
    lines = [line.strip() for line in error_log.splitlines() if line.strip()]
    return "\n  ".join(lines[-5:]) or "It left no error message."


class SipCall:
    """One call. Made by `place_calls`."""

    def __init__(self, request: CallRequest, call_id: str, calls: _SippRun) -> None:
        self.request = request
        self.call_id = call_id
        """the SIP Call-ID, by which Asterisk's log and dialplan know this call too; of a call that
        Asterisk places, empty until it has come"""
        self._calls = calls
        self._local_port = 0
        self._refused = False
        self._media: RtpTarget | None = None
        self._ended_by: Side | None = None

    async def answered(self, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """Until the call is answered (200 OK). Raises CallFailed when it is not going to be."""
        await self._calls.wait_for(
            lambda: self._media is not None or self._refused, f"{self} was not answered", timeout_s
        )
        if self._media is None:
            raise self._calls.credentials_refused(self)

    async def dialled(self, timeout_s: float = INVITE_TIMEOUT_S) -> None:
        """Until the call's INVITE has been sent, or has come if it is Asterisk that calls."""
        await self._calls.wait_for(
            lambda: self._local_port != 0, f"{self} was not dialled", timeout_s
        )

    @property
    def media(self) -> RtpTarget:
        """Where Asterisk wants the caller's RTP: see `RtpSocket.talk`. Once it has answered."""
        if self._media is None:
            raise HarnessFault(f"{self} has not been answered", "Wait for `answered` first.")
        return self._media

    async def hang_up(self, timeout_s: float = END_TIMEOUT_S) -> None:
        """Hang up as the caller, now: BYE, or CANCEL if the call is not answered yet.

        Returns when Asterisk has confirmed it. A call that has ended is left alone.
        """
        await self.dialled(timeout_s)
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
            address, port, payload_type = argument.split(":")
            self._media = RtpTarget(address, int(port), int(payload_type))
        elif stage == "refused":
            self._refused = True
            self._ended_by = "asterisk"
        elif stage == "ended":
            self._ended_by = "caller" if argument == "caller" else "asterisk"


def new_token() -> str:
    """What tells the calls of one `place_calls` from all others."""
    return secrets.token_hex(4)


def call_id_of(number: int, token: str) -> str:
    """The Call-ID of the call with this number, from 1, of a `place_calls` with this token."""
    return f"{number}-{token}"


@asynccontextmanager
async def place_calls(
    peer: SipPeer,
    requests: Sequence[CallRequest],
    folder: Path,
    calls_per_second: int = 50,
    token: str = "",
) -> AsyncIterator[list[SipCall]]:
    """Place a call for each request to the Asterisk at ``peer``.

    Yields as soon as SIPp runs: wait for `SipCall.answered` before anything else that only comes
    with an answered call, because it fails at once when the call fails. Leaving hangs up what is
    still up. SIPp's files go to ``folder``: sip.log (all messages), sip-errors.log. ``token`` lets
    the Call-IDs be known before: see `call_id_of`. Raises CallFailed, with the SIP response that
    says why.
    """
    token = token or new_token()
    local = local_address_towards(peer)
    async with AsyncExitStack() as stack:
        relay = None
        if peer.transport != "udp":
            relay = await stack.enter_async_context(open_relay(peer))
        run = _SippRun(peer, "127.0.0.1" if relay else local, folder)
        # SIPp numbers its calls from 1, and takes a line of the injection file for each in order.
        run.calls = [
            SipCall(request, call_id_of(number, token), run)
            for number, request in enumerate(requests, 1)
        ]
        address, port = relay.udp if relay else (peer.address, peer.port)
        scenario = _over_stream(_CALLER, peer, relay, folder) if relay else _CALLER
        await run.start(
            *(f"{address}:{port}", "-sf", str(scenario), "-cid_str", f"%u-{token}"),
            *("-auth_uri", peer.authority, "-r", str(calls_per_second)),
        )
        await stack.enter_async_context(run.ended_on_leaving())
        yield run.calls


@asynccontextmanager
async def await_call(
    peer: SipPeer, request: CallRequest, folder: Path
) -> AsyncIterator[tuple[SipCall, str]]:
    """Take the call that ``peer`` is going to place over UDP; its extension does not matter here.

    Yields the call, of which nothing has happened yet, and the SIP URI at which it is awaited. The
    rest is as in `place_calls`.
    """
    local = local_address_towards(peer)
    port = _free_udp_port(local)
    run = _SippRun(peer, local, folder)
    call = SipCall(request, "", run)
    run.calls = [call]
    await run.start("-sf", str(_CALLEE), "-p", str(port))
    async with run.ended_on_leaving():
        await run.wait_until_bound(port)
        yield call, f"sip:{peer.user}@{local}:{port}"


class _SippRun:
    """The SIPp process behind a number of calls."""

    def __init__(self, peer: SipPeer, local_address: str, folder: Path) -> None:
        self.local_address = local_address
        self.calls: list[SipCall] = []
        self._peer = peer
        self._error_log = folder / "sip-errors.log"
        self._message_log = folder / "sip.log"
        self._changed = asyncio.Condition()
        self._exit_code: int | None = None

    async def start(self, *arguments: str) -> None:
        """Start SIPp with these arguments and those that are the same for all."""
        program = shutil.which("sipp")
        if not program:
            raise EnvironmentFault("SIPp is not installed", "apt-get install sip-tester")
        # A log file that was written by an earlier SIPp must not explain this one's failure.
        self._error_log.unlink(missing_ok=True)
        count = str(len(self.calls))
        injection = self._injection_file()
        # SIPp writes its <log> lines to a file; through this name the file is our pipe, so a
        # stage is known the moment it is reached.
        log_read, log_write = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(program, *arguments, "-m", count, "-l", count),
                *("-i", self.local_address, "-bind_local", "-ci", self.local_address),
                *("-inf", f"/dev/fd/{injection}"),
                *("-trace_logs", "-log_file", f"/dev/fd/{log_write}"),
                *("-trace_msg", "-message_file", str(self._message_log)),
                *("-trace_err", "-error_file", str(self._error_log)),
                "-nostdin",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                pass_fds=(injection, log_write),
                # Ctrl-C is for the harness, which then hangs up.
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        except BaseException:
            os.close(log_read)
            raise
        finally:
            os.close(log_write)
            os.close(injection)
        self._watcher = asyncio.create_task(self._watch(log_read))

    def _injection_file(self) -> int:
        """A line for each call. Never on a disk, nor among the arguments: a password is in it."""
        user, password = self._peer.user, self._peer.password
        for what, text in (("user", user), ("password", password)):
            if re.search(r"[;\[\]\s]", text):
                raise InputFault(
                    f"the SIP {what} has a space, ';', '[' or ']' in it, which SIPp cannot take",
                    "Give the PBX another one for these calls.",
                )
        login = f"{user};[authentication username={user} password={password}]"
        lines = [f"{call.request.injection_line};{login}" for call in self.calls]
        file = os.memfd_create("sip-calls")
        os.write(file, "\n".join(["SEQUENTIAL", *lines, ""]).encode())
        return file

    @asynccontextmanager
    async def ended_on_leaving(self) -> AsyncIterator[None]:
        """Hang up what is still up and end SIPp; name the call that failed if one did."""
        try:
            yield
            await self.hang_up_all()
            await self.check_exit()
        except HarnessFault as fault:
            # Whatever was waited for in vain: when a call failed, that is the reason to name.
            if self.failed and not isinstance(fault, CallFailed):
                raise self.failure("a call failed") from fault
            raise
        finally:
            with suppress(HarnessFault):
                await self.hang_up_all()
            await self.stop()

    async def wait_until_bound(self, port: int) -> None:
        """Until SIPp can be called at ``port``."""
        host = int.from_bytes(socket.inet_aton(self.local_address), sys.byteorder)
        wanted = f" {host:08X}:{port:04X} "

        async def bound() -> None:
            # Nothing announces a bound port; the kernel's table is looked at again.
            while wanted not in Path("/proc/net/udp").read_text() and self._exit_code is None:
                await asyncio.sleep(_BIND_POLL_S)

        try:
            await asyncio.wait_for(bound(), _BIND_TIMEOUT_S)
        except asyncio.TimeoutError:
            raise HarnessFault(
                f"SIPp did not bind port {port}", f"See {self._error_log}."
            ) from None
        if self._exit_code is not None:
            raise self.failure(f"SIPp could not be called at port {port}")

    def credentials_refused(self, call: SipCall) -> CallFailed:
        """The error for a call whose digest was refused."""
        how = "without a password" if not self._peer.password else "with the password given"
        return CallFailed(
            f"{call}: the PBX wants authentication and refused the user {self._peer.user!r} {how}",
            "Compare user and password with the PBX's pjsip.conf, type=auth; its log says more.",
        )

    async def _watch(self, log_read: int) -> None:
        stages = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stages), os.fdopen(log_read, "rb")
        )
        by_id = {call.call_id: call for call in self.calls}
        async for line in stages:
            stage, call_id, argument = line.decode().split()
            if call_id not in by_id:  # the one that was awaited
                self.calls[0].call_id = call_id
                by_id = {call_id: self.calls[0]}
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
            # A call that was awaited and never came has no id.
            await asyncio.gather(*(call.hang_up() for call in self.calls if call.call_id))

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


def _over_stream(scenario: Path, peer: SipPeer, relay: Relay, folder: Path) -> Path:
    """The scenario as it must read when a relay takes what SIPp sends to the PBX."""
    text = scenario.read_text()
    for keyword, value in (
        ("[transport]", peer.transport.upper()),
        ("[local_ip]:[local_port]", "{}:{}".format(*relay.contact)),
        ("[remote_ip]:[remote_port]", peer.authority),
    ):
        text = text.replace(keyword, value)
    written = folder / "sip-scenario.xml"
    written.write_text(text)
    return written


def _free_udp_port(address: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


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
