"""SIP calls with Asterisk, by SIPp: dialled or taken, answered, and hung up by either side.

SIPp does the signalling only. The RTP that Asterisk sends goes straight to the address each call
names, which is a socket of the harness.

The packaged SIPp can authenticate itself, but speaks no TLS, and over TCP it takes no request to
hang up. So it always speaks UDP, and `open_relay` puts that on the stream.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import secrets
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from harness.caller.rtp_sender import RtpTarget
from harness.caller.sip_peer import SipPeer, local_address_towards
from harness.caller.sip_stream import Relay, open_relay
from harness.child_process import cpu_seconds, die_with_parent
from harness.errors import EnvironmentFault, HarnessFault, InputFault
from harness.media.codecs import PACKET_TIMES_MS, SDP_CODECS, codec_named

ANSWER_TIMEOUT_S = 10.0
END_TIMEOUT_S = 5.0

Side = Literal["caller", "asterisk"]
Hold = Literal["sendonly", "inactive", "0.0.0.0"]
"""How a caller holds a call by re-INVITE: with that direction (RFC 3264, 8.4), or in the old way
with a connection address that is none (RFC 2543, B.5)"""

Encryption = Literal["none", "sdes", "dtls"]
"""Of a call's RTP: with keys in SDP (RFC 4568), or agreed on in RTP's place (RFC 5764)"""
ENCRYPTIONS = get_args(Encryption)
SRTP_KEY_BYTES = 30
"""master key and salt of AES_CM_128_HMAC_SHA1_80 (RFC 3711)"""

INVITE_TIMEOUT_S = 10.0
"""for the PBX to call us when it should"""
REINVITE_TIMEOUT_S = 5.0
T38_TIMEOUT_S = 10.0
"""Asterisk waits five seconds for the other channel to accept T.38"""
_BIND_TIMEOUT_S = 5.0
_BIND_POLL_S = 0.005

_FIRST_NUMBER = 3
"""CSeq of the first request in a call, behind an INVITE and one with a digest"""

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
    ptime_ms: int = 20
    """of the packets that Asterisk is asked to send (SDP a=ptime)"""
    user: str = ""
    """in the From header; empty: the one of the `SipPeer`"""
    held: Hold | None = None
    """the call begins on hold, in that way"""
    encryption: Encryption = "none"
    fingerprint: str = ""
    """of the caller's certificate, for DTLS: ``SHA-256 01:AB:...``"""
    delayed_offer_ms: int | None = None
    """without SDP in the INVITE: Asterisk's offer is in the 200, and our answer in the ACK, so long
    after it"""
    srtp_key: bytes = field(default_factory=lambda: secrets.token_bytes(SRTP_KEY_BYTES), repr=False)
    """for SDES, of what the caller sends"""

    @property
    def keywords(self) -> dict[str, str]:
        """The values of the keywords that caller.xml and callee.xml have for a call.

        Raises InputFault for a codec that is not known, and a packet time that cannot be asked for.
        """
        if self.ptime_ms not in PACKET_TIMES_MS:
            raise InputFault(
                f"packets of {self.ptime_ms} ms cannot be asked for",
                f"Use one of {', '.join(map(str, PACKET_TIMES_MS))}.",
            )
        sdp = SDP_CODECS[codec_named(self.codec).name]
        return {
            "extension": self.extension,
            "rtp_address": self.rtp_address,
            "rtp_port": str(self.rtp_port),
            "connection": self.rtp_address if self.held != "0.0.0.0" else self.held,
            "direction": self.held if self.held not in (None, "0.0.0.0") else "sendrecv",
            "profile": _PROFILES[self.encryption],
            "security": self._security,
            "payload_type": str(sdp.payload_type),
            "rtpmap": sdp.rtpmap,
            "ptime": str(self.ptime_ms),
        }

    @property
    def _security(self) -> str:
        """The attribute lines of its media that are about encryption; else one that says nothing,
        since a line of SDP cannot be empty."""
        if self.encryption == "sdes":
            key = base64.b64encode(self.srtp_key).decode()
            return f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}"
        if self.encryption == "dtls":
            return f"a=rtcp-mux\r\na=setup:active\r\na=fingerprint:{self.fingerprint}"
        return f"a=rtcp:{self.rtp_port + 1}"


_PROFILES: Mapping[Encryption, str] = {
    "none": "RTP/AVP",
    "sdes": "RTP/SAVP",
    "dtls": "UDP/TLS/RTP/SAVP",
}


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
    """One call. Made by `place_call` and `await_call`."""

    def __init__(self, request: CallRequest, call_id: str, sipp: _Sipp) -> None:
        self.request = request
        self.call_id = call_id
        """the SIP Call-ID, by which Asterisk's log and dialplan know this call too; of a call that
        Asterisk places, empty until it has come"""
        self._sipp = sipp
        self._ptime_ms = request.ptime_ms
        """that was asked for last"""
        self._local_port = 0
        self._number = _FIRST_NUMBER
        """CSeq of the next request within the call"""
        self._reinvited = 0
        """CSeq of the last re-INVITE that was answered"""
        self._refused = False
        self.srtp_key = b""
        """master key and salt of what Asterisk sends, as its SDP has it (SDES); else empty"""
        self._media: RtpTarget | None = None
        self._ended_by: Side | None = None

    async def answered(self, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """Until the call is answered (200 OK). Raises CallFailed when it will not be."""
        await self._sipp.wait_for(
            lambda: self._media is not None or self._refused, f"{self} was not answered", timeout_s
        )
        if self._media is None:
            raise self._sipp.credentials_refused()

    async def dialled(self, timeout_s: float = INVITE_TIMEOUT_S) -> None:
        """Until the call's INVITE has been sent, or has come if it is Asterisk that calls."""
        await self._sipp.wait_for(
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
        if not self.is_over:
            self.tell_to_hang_up()
            await self.ended(timeout_s)

    def tell_to_hang_up(self) -> None:
        """Do what `hang_up` does, without waiting for it."""
        if not self.is_over:
            self._tell("HANGUP")

    @property
    def is_answered(self) -> bool:
        """Whether it has been answered; it may be over by now."""
        return self._media is not None

    @property
    def is_refused(self) -> bool:
        """Whether the PBX does not take our user or password."""
        return self._refused

    @property
    def is_over(self) -> bool:
        """Whether one side has hung up, and the other has confirmed it."""
        return self._ended_by is not None

    async def hold(self, how: Hold, timeout_s: float = REINVITE_TIMEOUT_S) -> None:
        """Hold the call, which is answered. Returns when Asterisk has agreed (200 OK)."""
        if how == "0.0.0.0":
            await self._reinvite(how, "sendrecv", timeout_s)
        else:
            await self._reinvite(self.request.rtp_address, how, timeout_s)

    async def resume(self, timeout_s: float = REINVITE_TIMEOUT_S) -> None:
        """Take a call back that was held. Returns when Asterisk has agreed."""
        await self._reinvite(self.request.rtp_address, "sendrecv", timeout_s)

    async def ask_for_packets(self, ptime_ms: int, timeout_s: float = REINVITE_TIMEOUT_S) -> None:
        """Ask for packets of another length (SDP a=ptime). Returns when Asterisk has agreed."""
        self._ptime_ms = ptime_ms
        await self._reinvite(self.request.rtp_address, "sendrecv", timeout_s)

    async def _reinvite(self, connection: str, direction: str, timeout_s: float) -> None:
        if not self._sipp.is_caller:
            raise HarnessFault(f"{self} cannot be held: it was the PBX that called")
        await self.answered(timeout_s)
        number = self._tell(
            "REINVITE", Connection=connection, Direction=direction, Ptime=str(self._ptime_ms)
        )
        await self._sipp.wait_for(
            lambda: self._reinvited >= number, f"{self} got no answer to a re-INVITE", timeout_s
        )

    async def ask_for_t38(self, timeout_s: float = T38_TIMEOUT_S) -> None:
        """Offer fax over T.38 in place of the audio, by re-INVITE. Returns when Asterisk has
        refused it (488), since no other channel has that, or accepted it as a gateway."""
        await self.answered(timeout_s)
        number = self._tell("T38")
        await self._sipp.wait_for(
            lambda: self._reinvited >= number, f"{self} got no answer to T.38", timeout_s
        )

    async def transfer(self, extension: str, timeout_s: float = END_TIMEOUT_S) -> None:
        """Transfer the call, which is answered: the other side calls ``extension`` instead (REFER).
        Returns when that has been answered, and this call is over."""
        await self.answered(timeout_s)
        target, bye = f"sip:{extension}@{self._sipp.authority}", str(self._number + 1)
        self._number = self._tell("TRANSFER", Target=target, Then=bye) + 2
        await self.ended(timeout_s)

    def _tell(self, what: str, **headers: str) -> int:
        """Have SIPp send a request; the CSeq of it."""
        number, self._number = self._number, self._number + 1
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            address = (self._sipp.local_address, self._local_port)
            sender.sendto(_told(what, self.call_id, number, headers), address)
        return number

    async def ended(self, timeout_s: float = END_TIMEOUT_S) -> Side:
        """Until the call is over: who hung up."""
        await self._sipp.wait_for(
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
        elif stage == "keyed":
            self.srtp_key = base64.b64decode(argument.removeprefix("key:"))
        elif stage == "reinvited":
            self._reinvited = int(argument)
        elif stage == "refused":
            self._refused = True
            self._ended_by = "asterisk"
        elif stage == "ended":
            self._ended_by = "caller" if argument == "caller" else "asterisk"


def new_call_id() -> str:
    """A SIP Call-ID that no other call has."""
    return secrets.token_hex(4)


@asynccontextmanager
async def place_call(
    peer: SipPeer, request: CallRequest, folder: Path, call_id: str = ""
) -> AsyncIterator[SipCall]:
    """Place a call to the Asterisk at ``peer``.

    Yields as soon as SIPp runs: wait for `SipCall.answered` before anything else that only comes
    with an answered call, because it fails at once when the call fails. Leaving hangs up. SIPp's
    files go to ``folder``: sip.log (all messages), sip-errors.log. ``call_id`` is one of
    `new_call_id`, for whoever has to know it before. Raises CallFailed, with the SIP response that
    says why.
    """
    async with AsyncExitStack() as stack:
        sipp, arguments = await _caller(stack, peer, request, folder)
        sipp.call = SipCall(request, call_id or new_call_id(), sipp)
        await sipp.start(*arguments, "-cid_str", sipp.call.call_id, "-m", "1")
        await stack.enter_async_context(sipp.ended_on_leaving())
        yield sipp.call


@asynccontextmanager
async def await_call(
    peer: SipPeer, request: CallRequest, folder: Path, rings_ms: int = 0
) -> AsyncIterator[tuple[SipCall, str]]:
    """Take the call that ``peer`` is going to place over UDP; its extension does not matter here.

    It rings for ``rings_ms`` before it is answered. Yields the call, of which nothing has happened
    yet, and the SIP URI at which it is awaited. The rest is as in `place_call`.
    """
    local = local_address_towards(peer)
    port = _free_udp_port(local)
    sipp = _Sipp(peer, local, request, folder)
    sipp.call = SipCall(request, "", sipp)
    await sipp.start("-sf", str(_CALLEE), "-p", str(port), "-d", str(rings_ms), "-m", "1")
    async with sipp.ended_on_leaving():
        await sipp.wait_until_bound(port)
        yield sipp.call, f"sip:{peer.user}@{local}:{port}"


class SipCalls:
    """Many calls of one caller, by one SIPp, which dials them one after the other. Made by
    `place_calls`."""

    def __init__(self, sipp: _Sipp, count: int) -> None:
        self.count = count
        """to be placed"""
        self._sipp = sipp

    @property
    def calls(self) -> list[SipCall]:
        """Those that have been dialled, in that order."""
        return list(self._sipp.calls.values())

    @property
    def cpu_seconds(self) -> float:
        """The time of a processor that SIPp has used so far; 0 when it has ended."""
        return self._sipp.cpu_seconds

    @property
    def answered_count(self) -> int:
        """How many have been answered so far, or are over already."""
        return sum(call.is_answered for call in self._sipp.calls.values())

    async def answered(self, timeout_s: float) -> None:
        """Until all are answered. Raises HarnessFault, with what the PBX said, if not."""
        try:
            await self._sipp.wait_for(
                lambda: self.answered_count == self.count or self._refused, "", timeout_s
            )
        except HarnessFault as fault:
            said = self._sipp.said()
            raise CallFailed(
                f"of {self.count} calls {self.answered_count} were answered"
                f" within {timeout_s:g} s. {said}",
                f"See {self._sipp.message_log}.",
            ) from fault
        if self._refused:
            raise self._sipp.credentials_refused()

    async def hang_up(self, timeout_s: float) -> None:
        """Hang up all that are up, and wait until they are over."""
        for call in self.calls:
            call.tell_to_hang_up()
            # A burst would overrun the socket that SIPp reads.
            await asyncio.sleep(0)
        await self._sipp.wait_for(
            lambda: all(call.is_over for call in self.calls),
            "the calls did not all end",
            timeout_s,
        )
        if len(self.calls) == self.count:
            # With its last call SIPp ends by itself. Killed in that moment it is reaped twice.
            await self._sipp.wait_until_ended()

    @property
    def _refused(self) -> bool:
        return any(call.is_refused for call in self._sipp.calls.values())


@asynccontextmanager
async def place_calls(
    peer: SipPeer, request: CallRequest, folder: Path, count: int, a_second: float
) -> AsyncIterator[SipCalls]:
    """Place ``count`` calls to the Asterisk at ``peer``, so many ``a_second``, with one SIPp.

    Yields as soon as SIPp runs. Leaving ends SIPp: hang up before. The rest is as in `place_call`.
    """
    async with AsyncExitStack() as stack:
        sipp, arguments = await _caller(stack, peer, request, folder)
        # %u counts the calls of this SIPp.
        await sipp.start(
            *(*arguments, "-cid_str", f"{new_call_id()}-%u", "-m", str(count), "-l", str(count)),
            *("-r", str(max(1, round(a_second * 10))), "-rp", "10000"),
        )
        stack.push_async_callback(sipp.stop)
        yield SipCalls(sipp, count)


async def _caller(
    stack: AsyncExitStack, peer: SipPeer, request: CallRequest, folder: Path
) -> tuple[_Sipp, tuple[str, ...]]:
    """A SIPp that will call ``peer``, and the arguments for that."""
    local = local_address_towards(peer)
    relay = None
    if peer.transport != "udp":
        relay = await stack.enter_async_context(open_relay(peer))
    sipp = _Sipp(peer, "127.0.0.1" if relay else local, request, folder, is_caller=True)
    address, port = relay.udp if relay else (peer.address, peer.port)
    scenario = _CALLER
    if relay or request.delayed_offer_ms is not None:
        text = scenario.read_text()
        if request.delayed_offer_ms is not None:
            text = with_delayed_offer(text, request.delayed_offer_ms)
        scenario = folder / "sip-scenario.xml"
        scenario.write_text(_over_stream(text, peer, relay) if relay else text)
    return sipp, (f"{address}:{port}", "-sf", str(scenario), "-auth_uri", peer.authority)


class _Sipp:
    """The SIPp process behind a call, or many."""

    call: SipCall
    """if it is one"""

    def __init__(
        self,
        peer: SipPeer,
        local_address: str,
        request: CallRequest,
        folder: Path,
        is_caller: bool = False,
    ) -> None:
        self.calls: dict[str, SipCall] = {}
        """if it is many: those that were dialled, by their Call-ID"""
        self.local_address = local_address
        self._request = request
        self.is_caller = is_caller
        self._peer = peer
        self._error_log = folder / "sip-errors.log"
        self.message_log = folder / "sip.log"
        self._changed = asyncio.Condition()
        self._exit_code: int | None = None

    @property
    def authority(self) -> str:
        """``host:port`` of the PBX."""
        return self._peer.authority

    @property
    def cpu_seconds(self) -> float:
        """The time of a processor that it has used so far; 0 when it has ended."""
        with suppress(OSError):  # it may end in this moment
            if self._exit_code is None:
                return cpu_seconds(self._process.pid)
        return 0.0

    async def start(self, *arguments: str) -> None:
        """Start SIPp with these arguments and those that are the same for all."""
        program = shutil.which("sipp")
        if not program:
            raise EnvironmentFault("SIPp is not installed", "apt-get install sip-tester")
        # A log file that was written by an earlier SIPp must not explain this one's failure.
        self._error_log.unlink(missing_ok=True)
        request = self._request
        keywords = {**request.keywords, "user": request.user or self._peer.user}
        injection = self._injection_file()
        # SIPp writes its <log> lines to a file; through this name the file is our pipe, so a
        # stage is known the moment it is reached.
        log_read, log_write = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *die_with_parent([program, *arguments]),
                *(word for name in keywords for word in ("-key", name, keywords[name])),
                *("-i", self.local_address, "-bind_local", "-ci", self.local_address),
                *("-inf", f"/dev/fd/{injection}"),
                *("-trace_logs", "-log_file", f"/dev/fd/{log_write}"),
                *("-trace_msg", "-message_file", str(self.message_log)),
                *("-trace_err", "-error_file", str(self._error_log)),
                "-nostdin",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                pass_fds=(injection, log_write),
                # Ctrl-C is for the harness, which then hangs up.
                start_new_session=True,
            )
        except BaseException:
            os.close(log_read)
            raise
        finally:
            os.close(log_write)
            os.close(injection)
        self._watcher = asyncio.create_task(self._watch(log_read))

    def _injection_file(self) -> int:
        """With the digest's user and password: so never on a disk, nor among the arguments."""
        user, password = self._peer.user, self._peer.password
        for what, text in (("user", user), ("password", password)):
            if re.search(r"[;\[\]\s]", text):
                raise InputFault(
                    f"the SIP {what} has a space, ';', '[' or ']' in it, which SIPp cannot take",
                    "Give the PBX another one for these calls.",
                )
        file = os.memfd_create("sip-authentication")
        login = f"[authentication username={user} password={password}]"
        os.write(file, f"SEQUENTIAL\n{login}\n".encode())
        return file

    @asynccontextmanager
    async def ended_on_leaving(self) -> AsyncIterator[None]:
        """Hang up what is still up and end SIPp; name the call that failed if one did."""
        try:
            yield
            await self.hang_up()
            await self.check_exit()
        except HarnessFault as fault:
            # Whatever was waited for in vain: when the call failed, that is the reason to name.
            if self.failed and not isinstance(fault, CallFailed):
                raise self.failure("the call failed") from fault
            raise
        finally:
            with suppress(HarnessFault):
                await self.hang_up()
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

    def credentials_refused(self) -> CallFailed:
        """The error for a call whose digest was refused."""
        how = "without a password" if not self._peer.password else "with the password given"
        return CallFailed(
            f"the call to {self._request.extension}: the PBX wants authentication and refused"
            f" the user {self._peer.user!r} {how}",
            "Compare user and password with the PBX's pjsip.conf, type=auth; its log says more.",
        )

    async def _watch(self, log_read: int) -> None:
        stages = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stages), os.fdopen(log_read, "rb")
        )
        async for line in stages:
            stage, call_id, argument = line.decode().split()
            self._call_of(call_id)._reached(stage, argument)
            await self._notify()
        transport.close()
        self._exit_code = await self._process.wait()
        await self._notify()

    def _call_of(self, call_id: str) -> SipCall:
        if not hasattr(self, "call"):
            return self.calls.setdefault(call_id, SipCall(self._request, call_id, self))
        self.call.call_id = call_id  # of a call that was awaited it was not known before
        return self.call

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
                f"{failure} within {timeout_s:g} s", f"See {self.message_log}."
            ) from None
        if not condition():
            raise self.failure(failure)

    @property
    def failed(self) -> bool:
        """Whether SIPp has ended before the call came to its end."""
        return self._exit_code is not None and self.call._ended_by is None

    def failure(self, what: str) -> CallFailed:
        """The error to raise once SIPp has ended."""
        assert self._exit_code is not None
        return CallFailed(
            f"{what}: {exit_sentence(self._exit_code)}. {self.said()}", f"See {self.message_log}."
        )

    def said(self) -> str:
        """Why calls failed, as `sip_failure` reads it."""
        return sip_failure(self._error_log.read_text() if self._error_log.exists() else "")

    async def hang_up(self) -> None:
        """Hang up if the call has not ended, so that Asterisk does not keep it."""
        # A call that was awaited and never came has no id.
        if self._exit_code is None and self.call.call_id:
            await self.call.hang_up()

    async def wait_until_ended(self) -> None:
        """Until SIPp has ended, with its last call."""
        await self.wait_for(
            lambda: self._exit_code is not None, "SIPp did not end with its call", END_TIMEOUT_S
        )

    async def check_exit(self) -> None:
        """Let SIPp end by itself; CallFailed if the call has not come to its end.

        When it has, SIPp's exit code does not matter: it is 1, too, if both sides hung up in the
        same moment.
        """
        await self.wait_until_ended()
        if self.failed:
            raise self.failure("the call failed")

    async def stop(self) -> None:
        """End SIPp if it still runs."""
        if self._exit_code is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        await self._watcher


_NO_BODY = "Content-Length: 0\n\n"
_OFFER = re.compile(r"Content-Type: application/sdp\n.*?\na=\[direction\]\n", re.DOTALL)
_ANSWERED = '<label id="answered"/>\n'


def with_delayed_offer(scenario: str, wait_ms: int) -> str:
    """The caller's scenario with the SDP of its INVITEs in its ACK, ``wait_ms`` after the 200."""
    calling, up = scenario.split(_ANSWERED)
    sdp = _OFFER.findall(calling)[-1]
    wait = f'<pause milliseconds="{wait_ms}"/>\n'
    return _OFFER.sub(_NO_BODY, calling) + _ANSWERED + wait + up.replace(_NO_BODY, sdp, 1)


def _over_stream(text: str, peer: SipPeer, relay: Relay) -> str:
    """The scenario as it must read when a relay takes what SIPp sends to the PBX."""
    for keyword, value in (
        ("[transport]", peer.transport.upper()),
        ("[local_ip]:[local_port]", "{}:{}".format(*relay.contact)),
        ("[remote_ip]:[remote_port]", peer.authority),
    ):
        text = text.replace(keyword, value)
    return text


def _free_udp_port(address: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


def _told(what: str, call_id: str, number: int, headers: Mapping[str, str]) -> bytes:
    """A request to SIPp to send a request of this CSeq: HANGUP or REINVITE, see caller.xml."""
    lines = [
        f"{what} sip:caller SIP/2.0",
        f"Via: SIP/2.0/UDP harness;branch=z9hG4bK-{what}-{number}",
        "From: <sip:harness>;tag=harness",
        "To: <sip:caller>",
        f"Call-ID: {call_id}",
        f"CSeq: {number} {what}",
        f"Number: {number}",
        *(f"{name}: {value}" for name, value in headers.items()),
        "Content-Length: 0",
        "",
        "",
    ]
    return "\r\n".join(lines).encode()
