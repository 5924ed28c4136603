"""The test bench: one PBX, and calls placed on it with both of their legs measured.

    with bench(build, folder) as b:
        async with b.call("greeting", Extension("call")) as call:
            await call.session.send_media(speech)
            await call.session.mark("m1")
            await call.session.wait_event("MARK_PLAYED", id="m1")
        print(call.judged.result)

A call's folder holds its capture, the WebSocket's messages, SIPp's log, the timeline and the
verdict; the bench's folder holds Asterisk's configuration and log, if it is the harness's own.

Where packets cannot be captured, the kernel's time stamps of the caller's RTP socket and the
application's own times of its messages are the measurement.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from chan_websocket.protocol import Event
from harness.application.client import MediaServer
from harness.application.disturb import DisturbingSession, connect, serve
from harness.asterisk.ami import Ami, MuteDirection, manager
from harness.asterisk.ari import Ari, BridgedCall, BridgedParty, waits_to_be_answered
from harness.asterisk.configuration import (
    ARI_BRIDGES,
    CONTEXT,
    JOIN_ARI,
    JOIN_CONFERENCE,
    TRANSFER,
    CallerEndpoint,
    Extension,
    ari_application,
)
from harness.asterisk.container import ContainerInstance
from harness.asterisk.instance import Instance
from harness.asterisk.own_asterisk import OwnAsterisk
from harness.caller.dtls import DtlsCaller
from harness.caller.rtp_socket import RtpPorts, RtpSocket
from harness.caller.sipp import (
    CallRequest,
    Hold,
    SipCall,
    await_call,
    new_call_id,
    place_call,
)
from harness.capture.dissect import timeline_from_sockets
from harness.capture.host_stalls import HostStallWatch, watch_host_stalls
from harness.capture.tcpdump import Tcpdump, capture_possible
from harness.capture.timeline import Codec, Timeline
from harness.capture.tls import SECRETS_FILE
from harness.certificates import note_secrets
from harness.errors import HarnessFault, InputFault
from harness.install.build import Build, load_build
from harness.install.container_image import build_image
from harness.judge.call import JudgedCall, judge_call
from harness.judge.expectations import Expectations
from harness.judge.verdicts import Bounds
from harness.media.codecs import codec_named, recoded
from harness.network_impairment import BadNetwork, UdpRelay, tcp_relay
from harness.record.capture_files import (
    CAPTURE_FILE,
    CapturedCall,
    load_timeline,
    save_captured_call,
    save_timeline,
)
from harness.record.verdict_files import write_call_files
from harness.targets.capabilities import Capabilities
from harness.targets.lab import LabTarget
from harness.targets.lab_file import load_lab
from harness.targets.names import CONTAINERS, TargetName
from harness.targets.target import OwnTarget, Target

_HANDSHAKE_TIMEOUT_S = 5.0
_LAG_INTERVAL_NS = 1_000_000
# The selector's time-outs are whole milliseconds: up to two of these are no lag.
_LAG_NOTED_NS = 2_000_000
_SOCKET_ERROR_NS = 200_000 + _LAG_INTERVAL_NS + _LAG_NOTED_NS
"""of a time the client takes itself: the way up from the kernel, and what lag goes unnoticed"""


@dataclass
class LiveCall:
    """A call that is up. It has been judged when the call's block has been left."""

    name: str
    folder: Path
    sip: SipCall
    session: DisturbingSession
    rtp: RtpSocket
    """the caller's"""
    bridged: BridgedCall | None = None
    """what can be done to it over ARI, where its bridge is ARI's"""
    dtls: DtlsCaller | None = None
    """of a caller whose RTP is encrypted with keys that are agreed on so"""
    asterisk: OwnAsterisk | None = None
    """the harness's own, if it is one"""
    second: SipCall | None = None
    """what the caller has transferred the application to: himself, on another line"""
    where: list[str] = field(default_factory=list)
    """what set each mark, in the order they were sent (scenario.yaml:14)"""
    failures: list[str] = field(default_factory=list)
    """after the call: all that did not pass, as text"""
    expectations: Expectations | None = None
    """of a scenario; to be set before the call is judged"""
    _judged: JudgedCall | None = field(default=None, repr=False)
    _read: Callable[[], Timeline] | None = field(default=None, repr=False)
    _bounds: Bounds | None = None

    @property
    def srtp_key(self) -> bytes:
        """By which what Asterisk sends is decrypted; empty where it is not, or not yet."""
        return self.dtls.srtp_key if self.dtls else self.sip.srtp_key

    async def agree_on_keys(self) -> None:
        """Do the caller's DTLS handshake with Asterisk. Raises HarnessFault where that fails."""
        assert self.dtls is not None, "the schema asks for it"
        await self.sip.answered()
        agreed = await asyncio.to_thread(
            self.rtp.agree_on_keys, self.dtls, self.sip.media, _HANDSHAKE_TIMEOUT_S
        )
        if not agreed:
            raise HarnessFault(
                f"caller and Asterisk agreed on no keys within {_HANDSHAKE_TIMEOUT_S:g} s",
                "Asterisk's log says more.",
            )

    async def redirect(self, where: str) -> None:
        """Send the application's channel elsewhere in the dialplan: context,extension,priority."""
        if self.asterisk is None:
            raise HarnessFault(f"the call {self.name} cannot be redirected: the PBX is not ours")
        command = f"channel redirect {self._channel} {where}"
        await asyncio.to_thread(self.asterisk.console.run, command)

    async def mute(self, party: BridgedParty, direction: MuteDirection, ms: int) -> None:
        """Mute the channel of the caller or the application for so long, by AMI's MuteAudio."""
        if self.asterisk is None:
            raise HarnessFault(f"the call {self.name} cannot be muted: the PBX is not ours")
        async with manager(self.asterisk) as ami:
            channel = await self._callers_channel(ami) if party == "caller" else self._channel
            fields = {"Channel": channel, "Direction": direction}
            await ami.action("MuteAudio", **fields, State="on")
            await asyncio.sleep(ms / 1000)
            await ami.action("MuteAudio", **fields, State="off")

    async def end_gateway(self) -> None:
        """Have Asterisk be a gateway for the caller's T.38 no longer."""
        if self.asterisk is None:
            raise HarnessFault(f"the call {self.name} is not ours: the PBX is not")
        async with manager(self.asterisk) as ami:
            channel = await self._callers_channel(ami)
            await ami.action("Setvar", Channel=channel, Variable="FAXOPT(gateway)", Value="no")

    async def _callers_channel(self, ami: Ami) -> str:
        """The name of the caller's channel, which is in a bridge with the application's."""
        peer = await ami.action("Getvar", Channel=self._channel, Variable="BRIDGEPEER")
        return peer["Value"]

    async def optimize(self, ms: int) -> None:
        """Have the Local channels that stay optimised away, one so long after the other."""
        if self.asterisk is None:
            raise HarnessFault(f"the call {self.name} cannot be optimised: the PBX is not ours")
        listed = await asyncio.to_thread(self.asterisk.console.run, "local show channels")
        async with manager(self.asterisk) as ami:
            for line in listed.splitlines():
                channel, _, _ = line.partition(" -- ")
                if channel.startswith("Local/"):
                    await ami.action("LocalOptimizeAway", Channel=channel)
                    await asyncio.sleep(ms / 1000)

    @property
    def _channel(self) -> str:
        """The name of the application's channel."""
        return str(self.session.media_start.fields["channel"])

    async def transfer(self) -> None:
        """The caller transfers the application to himself: where his RTP goes stays the same."""
        assert self.second is not None, "the schema asks for it"
        await self.sip.transfer(TRANSFER)
        await self.second.answered()

    def judge(self) -> None:
        """Judge the call, which is over, and write its files: then it has a result.

        In a thread that yields to everything else of the machine: other calls may be under way, and
        judging takes a processor for a moment.
        """
        with ThreadPoolExecutor(1, initializer=_yield_to_others) as executor:
            executor.submit(self._judge).result()

    def _judge(self) -> None:
        if self._read is None:
            raise HarnessFault(f"the call {self.name} cannot be judged: it was not completed")
        timeline = self._read()
        self._judged = judge_call(timeline, self._bounds, self.expectations)
        self.failures = write_call_files(self.folder, timeline, self._judged, self.where)

    @property
    def judged(self) -> JudgedCall:
        """What the judge says of it."""
        if self._judged is None:
            raise HarnessFault(f"the call {self.name} has not been judged: it was not completed")
        return self._judged


@dataclass(frozen=True)
class OtherListener:
    """Another telephone in the bridge of a call, that is silent."""

    ptime_ms: int = 0
    """of the packets that it asks for; 0: a packet a frame"""
    hold: Hold | None = None
    """how it holds the call from its beginning on"""


@dataclass(frozen=True)
class Conditions:
    """What is out of the ordinary around a call: the application's socket, the networks."""

    receive_buffer_bytes: int | None = None
    """of the application's socket, see `serve`"""
    with_handshake: Sequence[str] = ()
    """text messages that the application sends too early, see `serve`"""
    network: BadNetwork | None = None
    """between Asterisk and the caller: what it loses was measured before"""
    websocket_delay_ms: float = 0.0
    """between Asterisk and the application, each way, behind what is measured; for applications
    that Asterisk connects to at a port of their own"""
    bridge_after_ms: int = 0
    """how long after its channel is up the application joins its bridge, of those of ARI"""
    rings_ms: int = 0
    """how long the caller rings where it is he who is called (`Extension.calls_back`)"""
    held: Hold | None = None
    """how the caller holds the call from its beginning on"""
    delayed_offer_ms: int | None = None
    """the caller's SDP is in his ACK, see `CallRequest`"""
    other: OtherListener | None = None
    """in a conference, or an ARI bridge"""
    transferred: bool = False
    """whether the caller transfers the call to himself, see `LiveCall.transfer`"""
    cuts: Random | None = None
    """what the application sends arrives in TCP segments of random sizes with random pauses, and so
    do the replies"""


GOOD_CONDITIONS = Conditions()


class _Application:
    """The application's side of a call while it is set up: it listens, or will connect."""

    def __init__(self, target: Target, extension: Extension, conditions: Conditions) -> None:
        self._listener = target.listener
        self._conditions = conditions
        self.is_server = extension.connection == "outgoing"
        """whether Asterisk connects to it"""
        self.server: MediaServer[DisturbingSession] | None = None
        """if it is one, once it listens"""
        self.tls = target.listener.tls if self.is_server else target.media_tls
        self._asterisk_port = target.media_port

    @property
    def port(self) -> int:
        """Of the media connection: the server's, whichever side that is."""
        if not self.is_server:
            return self._asterisk_port
        return self.server.port if self.server else self._listener.port

    @property
    def uri(self) -> str:
        """Where Asterisk is to connect to; empty if it is not."""
        return self.server.uri if self.server else ""

    async def open(self, stack: AsyncExitStack) -> None:
        """Listen, if the port is for this call alone. Raises InputFault for an impossible delay."""
        if self.is_server and not self._listener.port:
            await self._listen(stack)
        if self._conditions.websocket_delay_ms and self.server is None:
            raise InputFault(
                "this media connection cannot be delayed",
                "Use an outgoing connection, and a target that leaves the port to us.",
            )
        if self.server is not None:
            self.server.uri = await self.relayed(stack, self.server.uri)

    async def relayed(self, stack: AsyncExitStack, uri: str) -> str:
        """The URI to connect to in place of ``uri``: a relay's, if the conditions ask for one."""
        delay_ms, cuts = self._conditions.websocket_delay_ms, self._conditions.cuts
        if not delay_ms and cuts is None:
            return uri
        where = urlsplit(uri)
        assert where.hostname is not None and where.port is not None, uri
        relay = tcp_relay(where.hostname, where.port, delay_ms, cuts)
        return uri.replace(f":{where.port}", f":{await stack.enter_async_context(relay)}")

    async def open_fixed_port(self, stack: AsyncExitStack) -> None:
        """Listen at the port that all calls use, one after the other."""
        if self.is_server and self._listener.port:
            await self._listen(stack)

    def close_fixed_port(self) -> None:
        """Leave the port to the next call; the connection stays."""
        if self.server and self._listener.port:
            self.server.stop_listening()

    async def _listen(self, stack: AsyncExitStack) -> None:
        listening = serve(
            self._listener.host,
            self._listener.port,
            self._conditions.receive_buffer_bytes,
            self._conditions.with_handshake,
            self._listener.tls,
        )
        self.server = await stack.enter_async_context(listening)


class Bench:
    """A PBX that calls can be placed on, also several at once. Made by `bench` and `bench_on`."""

    def __init__(
        self, target: Target, folder: Path, not_captured: str, host_stalls: HostStallWatch
    ) -> None:
        self.target = target
        self.folder = folder
        self.not_captured = not_captured
        """why times are socket time stamps and not of a packet capture; empty if they are of one"""
        self.host_stalls = host_stalls
        self.stops: list[tuple[int, int]] = []
        """begin and end, in Unix ns, of each `stop`"""
        self._setting_up = asyncio.Lock()

    @property
    def instance(self) -> OwnAsterisk:
        """The Asterisk, if it is the harness's own. Raises HarnessFault if it is not."""
        if not isinstance(self.target, OwnTarget):
            raise HarnessFault(
                f"the PBX at {self.target.sip} is not the harness's own",
                "What looks into Asterisk's process needs one that the harness has started.",
            )
        return self.target.asterisk

    @property
    def attach_command(self) -> str:
        """What to type to get to the console of this PBX."""
        if not isinstance(self.target, OwnTarget):
            return "asterisk -r, on the PBX"
        return self.target.asterisk.console.attach_command

    async def stop(self, seconds: float) -> None:
        """Stop the harness's own Asterisk for so long: to all of its calls the host has stalled."""
        begin_ns = time.time_ns()
        os.kill(self.instance.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            os.kill(self.instance.pid, signal.SIGCONT)
            self.stops.append((begin_ns, time.time_ns()))

    def check_alive(self, within_s: float = 0.0) -> None:
        """For the harness's own Asterisk what `OwnAsterisk.check_alive` does; else nothing."""
        if isinstance(self.target, OwnTarget):
            self.target.asterisk.check_alive(within_s)

    def check_answers(self) -> None:
        """For the harness's own Asterisk what `OwnAsterisk.check_answers` does; else nothing."""
        if isinstance(self.target, OwnTarget):
            self.target.asterisk.check_answers()

    @cached_property
    def capabilities(self) -> Capabilities:
        """What the target can do, found out once: it may take a call. Blocks."""
        return self.target.capabilities(self._media_start)

    def _media_start(self, extension: Extension) -> Event:
        async def place() -> Event:
            async with self.call("capabilities", extension, judged_later=True) as call:
                return call.session.media_start

        # In a thread: an event loop may be running in this one.
        with ThreadPoolExecutor(1) as executor:
            return executor.submit(asyncio.run, place()).result()

    @asynccontextmanager
    async def call(
        self,
        name: str,
        extension: Extension,
        bounds: Bounds | None = None,
        conditions: Conditions = GOOD_CONDITIONS,
        judged_later: bool = False,
    ) -> AsyncIterator[LiveCall]:
        """A call, answered and with its media connection open; judged when the block is left.

        Whichever side has not hung up by then does so. ``name`` names the call's folder.
        Of several calls at once each is to be ``judged_later``, with `LiveCall.judge` when all are
        over: while one is being judged the applications of the others do nothing, and an
        application that does not read gets no more than ten small events in time, since its
        kernel acknowledges no more (TCP).
        """
        codecs = _Codecs.of(extension)
        folder = self.folder / re.sub(r"[^\w.-]+", "_", name)
        folder.mkdir(parents=True, exist_ok=True)
        async with AsyncExitStack() as stack:
            caller = stack.enter_context(RtpSocket(self.target.rtp_address))
            # With a relay it is the relay that Asterisk sends to, and that measures.
            rtp: RtpPorts = caller
            if conditions.network:
                rtp = stack.enter_context(UdpRelay(caller, conditions.network))
            dtls = DtlsCaller() if extension.encryption == "dtls" else None
            application = _Application(self.target, extension, conditions)
            await application.open(stack)
            capture = None
            if not self.not_captured:
                # His RTCP comes from his own port, also where a relay takes the RTP.
                udp_ports = [rtp.port, rtp.port + 1]
                tcpdump = Tcpdump(folder / CAPTURE_FILE, udp_ports, [application.port])
                capture = stack.enter_context(tcpdump)
            # One at a time: where Asterisk connects to is the same setting for all calls.
            async with self._setting_up:
                if application.tls and capture:
                    note_secrets(application.tls, folder / SECRETS_FILE)
                await application.open_fixed_port(stack)
                sip, session, bridged = await self._place(
                    stack, extension, application, rtp, folder, conditions, dtls
                )
                application.close_fixed_port()
                if conditions.other:
                    await self._join(stack, extension, conditions.other, sip, bridged, folder)
            own = self.target.asterisk if isinstance(self.target, OwnTarget) else None
            call = LiveCall(name, folder, sip, session, caller, bridged, dtls, own)
            if conditions.transferred:
                call.second = await self._second_line(stack, sip, folder)
            # From here on: how late the loop was while the call was set up tells nothing about it.
            lags = [] if capture else stack.enter_context(_event_loop_lags())
            begin_ns = time.time_ns()
            yield call
            await sip.hang_up()
            if call.second is not None:
                await call.second.hang_up()
            await session.wait_closed()
            end_ns = time.time_ns()
            stops = [one for one in self.stops if one[1] > begin_ns]
            host_stalls = sorted([*self.host_stalls.between(begin_ns, end_ns), *stops])
            if capture is not None:
                call._read = _save_capture(call, codecs, capture, rtp, application, host_stalls)
            else:
                rtp.close()
                uncertainty_ns = _SOCKET_ERROR_NS + int(conditions.websocket_delay_ms * 1e6)
                host_stalls = sorted([*host_stalls, *lags])
                call._read = _save_sockets(call, codecs, rtp, uncertainty_ns, end_ns, host_stalls)
            call._bounds = bounds
            if not judged_later:
                call.judge()

    async def _place(
        self,
        stack: AsyncExitStack,
        extension: Extension,
        application: _Application,
        rtp: RtpPorts,
        folder: Path,
        conditions: Conditions,
        dtls: DtlsCaller | None,
    ) -> tuple[SipCall, DisturbingSession, BridgedCall | None]:
        """Have the call placed; it, when it is answered, its media connection, open, and what
        bridges the two if that is ARI."""
        number = self.target.prepare(extension, application.uri)
        caller_codec = extension.caller_codec or extension.codec
        request = CallRequest(
            number,
            rtp.address,
            rtp.port,
            caller_codec,
            ptime_ms=extension.ptime_ms or codec_named(caller_codec).ptime_ms,
            user=extension.endpoint.name if extension.endpoint != CallerEndpoint() else "",
            held=conditions.held,
            encryption=extension.encryption,
            fingerprint=dtls.fingerprint if dtls else "",
            delayed_offer_ms=conditions.delayed_offer_ms,
        )
        call_id = new_call_id()
        if extension.calls_back:
            waiting = await_call(self.target.sip, request, folder, conditions.rings_ms)
            sip, uri = await stack.enter_async_context(waiting)
            return sip, await self._called_back(extension, application, request, uri), None
        bridged = None
        if extension.bridge in ARI_BRIDGES:
            # Before the call: an application that nobody listens for does not exist.
            bridged = await stack.enter_async_context(
                self._ari.application(ari_application(call_id))
            )
            bridged.media_after_s = conditions.bridge_after_ms / 1000
        if not self.target.originate_at:
            sip = await stack.enter_async_context(
                place_call(self.target.sip, request, folder, call_id)
            )
        else:
            waiting = await_call(self.target.sip, request, folder)
            sip, uri = await stack.enter_async_context(waiting)
            endpoint = f"{self.target.originate_at}/{uri}"
            if bridged:
                await self._ari.originate(endpoint, bridged.name, formats=caller_codec)
            else:
                await self._ari.originate_into_dialplan(endpoint, CONTEXT, number, caller_codec)
            await sip.dialled()
        if bridged:
            session = await self._bridge(stack, extension, application, sip, bridged)
            return sip, session, bridged
        # Where the application itself has to answer, that is for its steps to do. Where Dial does
        # something before it bridges, that is when they begin.
        answered = not waits_to_be_answered(extension) and not extension.dial_options
        if application.server:
            if answered:
                await sip.answered()
            return sip, await application.server.accept(), None
        uri = await asyncio.to_thread(self.target.connection_uri, sip.call_id)
        uri = await application.relayed(stack, uri)
        session = await stack.enter_async_context(connect(uri, self.target.media_tls))
        if answered:
            await sip.answered()
        return sip, session, None

    async def _join(
        self,
        stack: AsyncExitStack,
        extension: Extension,
        other: OtherListener,
        sip: SipCall,
        bridged: BridgedCall | None,
        folder: Path,
    ) -> None:
        """Have another telephone call into the bridge of a call."""
        folder = folder / "other"
        folder.mkdir(exist_ok=True)
        rtp = stack.enter_context(RtpSocket(self.target.rtp_address))
        request = CallRequest(
            f"{JOIN_ARI if bridged else JOIN_CONFERENCE}{sip.call_id}",
            rtp.address,
            rtp.port,
            extension.caller_codec or extension.codec,
            ptime_ms=other.ptime_ms or 20,
            user=CallerEndpoint(ptime=bool(other.ptime_ms)).name,
            held=other.hold,
        )
        joined = await stack.enter_async_context(place_call(self.target.sip, request, folder))
        await joined.answered()
        if bridged:
            await bridged.joined()

    async def _second_line(self, stack: AsyncExitStack, sip: SipCall, folder: Path) -> SipCall:
        """Another telephone that can be called, with the RTP port of a call's caller."""
        folder = folder / "second"
        folder.mkdir(exist_ok=True)
        waiting = await_call(self.target.sip, sip.request, folder)
        second, uri = await stack.enter_async_context(waiting)
        callee = f"PJSIP/{sip.request.user or self.target.sip.user}/{uri}"
        await asyncio.to_thread(self.instance.use_callee, callee)
        return second

    async def _called_back(
        self, extension: Extension, application: _Application, request: CallRequest, uri: str
    ) -> DisturbingSession:
        """Make the application's channel, which calls the caller at ``uri``; its connection."""
        assert application.server is not None, "the schema asks for an outgoing connection"
        caller = f"PJSIP/{request.user or self.target.sip.user}/{uri}"
        await asyncio.to_thread(self.instance.use_callee, caller)
        await self._ari.originate_into_dialplan(
            extension.dial_string, CONTEXT, request.extension, extension.codec
        )
        return await application.server.accept()

    async def _bridge(
        self,
        stack: AsyncExitStack,
        extension: Extension,
        application: _Application,
        sip: SipCall,
        bridged: BridgedCall,
    ) -> DisturbingSession:
        """Bridge the caller with external media over ARI; its connection, open."""
        await sip.answered()
        await bridged.bridge_caller(third=extension.bridge == "ari of three")
        media = await bridged.external_media(extension)
        if application.server:
            session = await application.server.accept()
        else:
            uri = self.target.media_uri(media.connection_id)
            session = await stack.enter_async_context(connect(uri, self.target.media_tls))
        if not waits_to_be_answered(extension) and not bridged.media_after_s:
            await bridged.in_bridge(media.channel)
        return session

    @property
    def _ari(self) -> Ari:
        if self.target.ari is None:
            raise InputFault(
                "this call needs ARI, and the lab file has none",
                "Add ari: with its URI, user and the variable that holds the password.",
            )
        return self.target.ari


@contextmanager
def bench(
    build: Build,
    folder: Path,
    module: Path | None = None,
    tls: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Bench]:
    """Start an Asterisk for calls, by default with the patched module; stop it on leaving.

    With ``tls`` its media connections are encrypted, in both directions. ``environment`` is added
    to Asterisk's own.
    """
    with (
        Instance(build, folder, module=module, tls=tls, environment=environment) as instance,
        bench_on(OwnTarget(instance), folder) as b,
    ):
        yield b


@contextmanager
def bench_on(target: Target, folder: Path) -> Iterator[Bench]:
    """A bench on a PBX that runs already."""
    folder.mkdir(parents=True, exist_ok=True)
    pid = target.asterisk.pid if isinstance(target, OwnTarget) else 0
    with watch_host_stalls(folder, pid) as host_stalls:
        yield Bench(target, folder, target.not_captured or capture_possible() or "", host_stalls)


@contextmanager
def open_bench(
    name: TargetName, root: Path, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Bench]:
    """A bench on the target; what was started for it is stopped on leaving.

    ``environment`` is added to an Asterisk's own that the harness starts natively.
    """
    if name.lab_file is not None:
        with bench_on(LabTarget(load_lab(name.lab_file)), folder) as b:
            yield b
    elif name.text in CONTAINERS:
        image = build_image(name.text.removeprefix("container-"), root, say=_say)
        with (
            ContainerInstance(image, folder) as instance,
            bench_on(OwnTarget(instance), folder) as b,
        ):
            yield b
    else:
        build = load_build(root)
        module = build.stock_module if name.stock else build.patched_module
        tls = name.text.endswith("-tls")
        with bench(build, folder, module, tls=tls, environment=environment) as b:
            yield b


def _say(line: str) -> None:
    print(line, flush=True)


def _yield_to_others() -> None:
    # Niceness is a thread's own affair on Linux.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)


@dataclass(frozen=True)
class _Codecs:
    """Of a call, as its timeline has them, and the length of its packets and frames."""

    application: Codec
    recoded: Codec | None
    ptime_ms: int
    frame_ms: int

    @classmethod
    def of(cls, extension: Extension) -> _Codecs:
        """Raises InputFault for what cannot be judged."""
        caller_codec = extension.caller_codec or extension.codec
        return cls(
            codec_named(extension.codec),
            recoded(extension.codec, caller_codec, extension.mixed),
            extension.ptime_ms,
            extension.mixing_interval_ms if extension.bridge == "conference" else 0,
        )


def _save_capture(
    call: LiveCall,
    codecs: _Codecs,
    capture: Tcpdump,
    rtp: RtpPorts,
    application: _Application,
    host_stalls: Sequence[tuple[int, int]],
) -> Callable[[], Timeline]:
    """End the capture and save what belongs to it; a function that reads the timeline out of it."""
    summary = capture.stop()
    captured = CapturedCall(
        codecs.application,
        rtp_port=rtp.port,
        websocket_port=application.port,
        application_is_server=application.is_server,
        uncertainty_ns=summary.uncertainty_ns,
        capture_drops=summary.dropped,
        host_stalls=host_stalls,
        # Several calls' applications may be connected to Asterisk's one port.
        media_start=str(call.session.media_start.fields["channel_id"]),
        recoded=codecs.recoded,
        ptime_ms=codecs.ptime_ms,
        frame_ms=codecs.frame_ms,
        srtp_key=call.srtp_key.hex(),
    )
    save_captured_call(call.folder, captured)
    return partial(captured.timeline, summary.path)


def _save_sockets(
    call: LiveCall,
    codecs: _Codecs,
    rtp: RtpPorts,
    uncertainty_ns: int,
    end_ns: int,
    host_stalls: Sequence[tuple[int, int]],
) -> Callable[[], Timeline]:
    """Save what the sockets have measured; a function that reads the timeline out of it."""
    timeline = timeline_from_sockets(
        codecs.application,
        rtp.decrypted(call.srtp_key),
        call.session.messages,
        uncertainty_ns=uncertainty_ns,
        end_ns=end_ns,
        capture_drops=rtp.dropped,
        host_stalls=host_stalls,
        recoded=codecs.recoded,
        ptime_ms=codecs.ptime_ms,
        frame_ms=codecs.frame_ms,
        reports=call.rtp.reports,
    )
    save_timeline(call.folder, timeline)
    return partial(load_timeline, call.folder)


@contextmanager
def _event_loop_lags() -> Iterator[list[tuple[int, int]]]:
    """Watch the event loop; begin and end, in Unix ns, of each moment it was late."""
    lags: list[tuple[int, int]] = []

    async def watch() -> None:
        while True:
            due_ns = time.time_ns() + _LAG_INTERVAL_NS
            await asyncio.sleep(_LAG_INTERVAL_NS / 1e9)
            now_ns = time.time_ns()
            if now_ns - due_ns > _LAG_NOTED_NS:
                lags.append((due_ns, now_ns))

    task = asyncio.get_running_loop().create_task(watch())
    try:
        yield lags
    finally:
        task.cancel()
