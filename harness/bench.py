"""The test bench: one Asterisk, and calls placed on it with both of their legs measured.

    with bench(folder) as b:
        async with b.call("greeting", Extension("call")) as call:
            await call.session.send_media(speech)
            await call.session.mark("m1")
            await call.session.wait_event("MARK_PLAYED", id="m1")
        print(call.result.verdict)

A call's folder holds its capture, the WebSocket's messages, SIPp's log, the timeline and the
verdict; the bench's folder holds Asterisk's configuration and log.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from harness.asterisk.build import Build
from harness.asterisk.configuration import Extension
from harness.asterisk.instance import Instance
from harness.call.sipp import CallRequest, SipCall, place_calls
from harness.capture.dissect import timeline_from_sockets
from harness.capture.rtp_socket import RtpSocket
from harness.capture.saved import (
    CAPTURE_FILE,
    CapturedCall,
    load_timeline,
    save_captured_call,
    save_timeline,
)
from harness.capture.stalls import StallWatch, watch_stalls
from harness.capture.tcpdump import Tcpdump, capture_possible
from harness.capture.timeline import ULAW, Codec, Timeline
from harness.errors import HarnessFault, InputFault
from harness.judge.accounts import Accounts, judge_accounts
from harness.judge.judge import Bounds, CallVerdict, judge
from harness.report.call_files import write_call_files
from harness.websocket.client import MediaServer, MediaSession, connect, serve

OPUS_FRAME_BYTES = 80
_OPUS = Codec(
    "opus", bytes_per_second=50 * OPUS_FRAME_BYTES, rtp_clock_hz=48000, ptime_ms=20, silence=0
)
CODECS = {codec.name: codec for codec in (ULAW, _OPUS)}
"""What can be judged so far, by Asterisk's name. Opus only in frames of 20 ms that all have
`OPUS_FRAME_BYTES`, so that bytes and times belong together as they do in G.711."""

_LAG_INTERVAL_NS = 1_000_000
# The selector's time-outs are whole milliseconds: up to two of these are no lag.
_LAG_NOTED_NS = 2_000_000
_SOCKET_ERROR_NS = 200_000 + _LAG_INTERVAL_NS + _LAG_NOTED_NS
"""of a time the client takes itself: the way up from the kernel, and what lag goes unnoticed"""


@dataclass
class LiveCall:
    """A call that is up. Its result is there when the call's block has been left."""

    name: str
    folder: Path
    sip: SipCall
    session: MediaSession
    rtp: RtpSocket
    failures: list[str] = field(default_factory=list)
    """after the call: each mark that did not pass, as text"""
    _accounts: Accounts | None = field(default=None, repr=False)
    _read: Callable[[], Timeline] | None = field(default=None, repr=False)
    _bounds: Bounds | None = None

    def judge(self) -> None:
        """Judge the call, which is over, and write its files: then it has a result."""
        if self._read is None:
            raise HarnessFault(f"the call {self.name} cannot be judged: it was not completed")
        timeline = self._read()
        verdict = judge(timeline, self._bounds)
        self._accounts = judge_accounts(timeline, verdict)
        self.failures = write_call_files(self.folder, timeline, verdict)

    @property
    def result(self) -> CallVerdict:
        """The judge's verdicts of this call's marks."""
        return self.accounts.call

    @property
    def accounts(self) -> Accounts:
        """The judge's verdicts of what Asterisk counted in this call."""
        if self._accounts is None:
            raise HarnessFault(f"the call {self.name} has not been judged: it was not completed")
        return self._accounts


class Bench:
    """An Asterisk that calls can be placed on, also several at once. Made by `bench`."""

    def __init__(
        self, instance: Instance, folder: Path, captures: bool, stalls: StallWatch
    ) -> None:
        self.instance = instance
        self.folder = folder
        self.captures = captures
        """whether packets can be captured; if not, socket time stamps are the ruler"""
        self._stalls = stalls
        self._extensions: dict[str, Extension] = {}
        self._setting_up = asyncio.Lock()

    @asynccontextmanager
    async def call(
        self,
        name: str,
        extension: Extension,
        bounds: Bounds | None = None,
        receive_buffer_bytes: int | None = None,
        judged_later: bool = False,
    ) -> AsyncIterator[LiveCall]:
        """A call, answered and with its media connection open; judged when the block is left.

        Whichever side has not hung up by then does so. ``name`` names the call's folder.
        ``receive_buffer_bytes`` is the application's, see `serve`. Of several calls at once each is
        to be ``judged_later``, with `LiveCall.judge` when all are over: while one is being judged
        the applications of the others do nothing, and an application that does not read gets no
        more than ten small events in time, since its kernel acknowledges no more (TCP).
        """
        codec = codec_named(extension.codec)
        folder = self.folder / re.sub(r"[^\w.-]+", "_", name)
        folder.mkdir(parents=True, exist_ok=True)
        async with AsyncExitStack() as stack:
            rtp = stack.enter_context(RtpSocket())
            server = await stack.enter_async_context(
                serve(receive_buffer_bytes=receive_buffer_bytes)
            )
            port = int(server.uri.rstrip("/").rpartition(":")[2])
            application_is_server = extension.connection == "outgoing"
            if not application_is_server:
                port = self.instance.network.http_port
            capture = None
            if self.captures:
                capture = stack.enter_context(
                    Tcpdump(folder / CAPTURE_FILE, udp_ports=[rtp.port], tcp_ports=[port])
                )
            # One at a time: where Asterisk connects to is the same setting for all calls.
            async with self._setting_up:
                sip, session = await self._place(stack, extension, server, rtp.port, folder)
            call = LiveCall(name, folder, sip, session, rtp)
            # From here on: how late the loop was while the call was set up tells nothing about it.
            lags = [] if self.captures else stack.enter_context(_event_loop_lags())
            begin_ns = time.time_ns()
            yield call
            await sip.hang_up()
            await session.wait_closed()
            end_ns = time.time_ns()
            stalls = self._stalls.between(begin_ns, end_ns)
            if capture is not None:
                summary = capture.stop()
                captured = CapturedCall(
                    codec,
                    rtp_port=rtp.port,
                    websocket_port=port,
                    application_is_server=application_is_server,
                    error_ns=summary.error_ns,
                    dropped=summary.dropped,
                    stalls=stalls,
                    # Several calls' applications may be connected to Asterisk's one port.
                    media_start=str(session.media_start.fields["channel_id"]),
                )
                save_captured_call(folder, captured)
                call._read = partial(captured.timeline, summary.path)
            else:
                rtp.close()
                timeline = timeline_from_sockets(
                    codec,
                    rtp.packets,
                    session.messages,
                    error_ns=_SOCKET_ERROR_NS,
                    end_ns=end_ns,
                    dropped=rtp.dropped,
                    stalls=sorted([*stalls, *lags]),
                )
                save_timeline(folder, timeline)
                call._read = partial(load_timeline, folder)
            call._bounds = bounds
            if not judged_later:
                call.judge()

    async def _place(
        self,
        stack: AsyncExitStack,
        extension: Extension,
        server: MediaServer,
        rtp_port: int,
        folder: Path,
    ) -> tuple[SipCall, MediaSession]:
        """Dial; the call when it is answered and its media connection, open."""
        self._extensions[extension.name] = extension
        self.instance.use_extensions(list(self._extensions.values()))
        self.instance.use_application(server.uri)
        network = self.instance.network
        request = CallRequest(extension.name, "127.0.0.1", rtp_port, extension.codec)
        [sip] = await stack.enter_async_context(
            place_calls(network.address, network.sip_port, [request], folder)
        )
        if extension.connection == "outgoing":
            await sip.answered()
            return sip, await server.accept()
        uri = await asyncio.to_thread(self.instance.connection_uri, sip.call_id)
        session = await stack.enter_async_context(connect(uri))
        await sip.answered()
        return sip, session


def codec_named(name: str) -> Codec:
    """The codec of Asterisk's name ``name``. Raises InputFault for one that cannot be judged."""
    if name not in CODECS:
        raise InputFault(
            f"calls with the codec {name!r} cannot be judged", f"Use one of {', '.join(CODECS)}."
        )
    return CODECS[name]


@contextmanager
def bench(build: Build, folder: Path, module: Path | None = None) -> Iterator[Bench]:
    """Start an Asterisk for calls, by default with the patched module; stop it on leaving."""
    with Instance(build, folder, module=module) as instance, watch_stalls(folder) as stalls:
        yield Bench(instance, folder, capture_possible() is None, stalls)


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
