"""Fifty calls, of which ten have an application that does not read: nobody else hears of it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from live_calls import skip

from chan_websocket.protocol import Format
from harness.application.disturb import DisturbingSession, serve
from harness.application.marks import acknowledged, coded_pieces
from harness.asterisk.configuration import Extension
from harness.asterisk.instance import Instance
from harness.caller.rtp_socket import RtpSocket
from harness.caller.sipp import CallRequest, SipCall, place_call
from harness.capture.host_stalls import HostStallWatch, watch_host_stalls
from harness.host_lock import HOST
from harness.install.build import Build
from harness.judge.uncertainty import overlap_ns
from harness.targets.target import OwnTarget

pytestmark = pytest.mark.slow

READERS = 40
TIMES_DEAF = 2
"""calls for each of five ways of not reading"""
SPEECH_BYTES = 8 * 8000
LONGEST_GAP_NS = 50_000_000
"""from one packet to the next, of which one is due each 20 ms"""
SMALL_SOCKET_BYTES = 4096
MARKS = 2000
"""whose acknowledgements no socket holds"""
LAST_ACK_S = 30.0

Deaf = Callable[[SipCall, DisturbingSession], Awaitable[None]]


class Crowd:
    """Calls on one Asterisk whose RTP is measured by the callers' sockets."""

    def __init__(self, target: OwnTarget, folder: Path, stack: AsyncExitStack) -> None:
        self._target, self._folder, self._stack = target, folder, stack
        self._numbers = itertools.count()

    async def calls(
        self, count: int, message_format: Format, receive_buffer_bytes: int | None = None
    ) -> list[tuple[SipCall, DisturbingSession, RtpSocket]]:
        """Calls that are answered, with their media connections open, in no particular order."""
        listener = self._target.listener
        server = await self._stack.enter_async_context(
            serve(listener.host, 0, receive_buffer_bytes, tls=listener.tls)
        )
        number = self._prepare(server.uri, message_format)

        async def call() -> tuple[SipCall, DisturbingSession, RtpSocket]:
            sip, rtp = await self._place(number)
            await sip.answered()
            return sip, await server.accept(), rtp

        return await asyncio.gather(*(call() for _ in range(count)))

    async def place(self, uri: str) -> None:
        """A call whose application Asterisk is to connect to there."""
        await self._place(self._prepare(uri, Format.PLAIN))

    def _prepare(self, uri: str, message_format: Format) -> str:
        return self._target.prepare(Extension("crowd", message_format=message_format), uri)

    async def _place(self, number: str) -> tuple[SipCall, RtpSocket]:
        rtp = self._stack.enter_context(RtpSocket(self._target.rtp_address))
        folder = self._folder / f"call-{next(self._numbers)}"
        folder.mkdir(parents=True)
        request = CallRequest(number, rtp.address, rtp.port)
        sip = await self._stack.enter_async_context(place_call(self._target.sip, request, folder))
        return sip, rtp


@asynccontextmanager
async def mute_server(uri_scheme: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Where connections are taken and nothing is ever read or written; set when one has come."""
    came = asyncio.Event()
    writers = []

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        came.set()

    server = await asyncio.start_server(hold, "127.0.0.1", 0, limit=1)
    try:
        yield f"{uri_scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/", came
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


async def from_the_begin(sip: SipCall, session: DisturbingSession) -> None:
    """Its media starts, and it reads nothing; what Asterisk has to say fills its socket."""
    session.stop_reading()
    await session.report_playback(20)
    await flood(session)


async def in_speech(sip: SipCall, session: DisturbingSession) -> None:
    """It has spoken, and been told that it was."""
    [piece] = coded_pieces([1600])
    await session.send_media(piece)
    await session.mark("heard")
    await session.wait_event("MARK_PLAYED", id="heard")
    await flood(session)


async def when_it_hangs_up(sip: SipCall, session: DisturbingSession) -> None:
    """Asterisk is to close the connection, and to say the last of it all."""
    await flood(session)
    await session.hangup()


async def when_the_caller_hangs_up(sip: SipCall, session: DisturbingSession) -> None:
    """The same, by the other side."""
    await flood(session)
    await sip.hang_up()


async def flood(session: DisturbingSession) -> None:
    """More acknowledgements than its socket takes."""
    session.stop_reading()
    await session.send_in_one_write([session.mark_text(number) for number in range(MARKS)])
    [piece] = coded_pieces([8000], session.sent_bytes)
    await session.send_media(piece)
    await session.flush("flushed")


WAYS: tuple[Deaf, ...] = (
    from_the_begin,
    in_speech,
    when_it_hangs_up,
    when_the_caller_hangs_up,
)


async def speak(session: DisturbingSession) -> None:
    await session.start_buffering()
    [piece] = coded_pieces([SPEECH_BYTES])
    await session.send_media(piece[: SPEECH_BYTES // 2])
    await session.send_media(piece[SPEECH_BYTES // 2 :])
    await session.mark("end")
    await acknowledged(session, "MARK", "end", LAST_ACK_S)


async def gaps_of_readers(instance: Instance, folder: Path) -> list[tuple[int, int]]:
    """Begin and end of each gap in the speech of those who read."""
    target = OwnTarget(instance)
    scheme = "wss" if target.listener.tls else "ws"
    async with AsyncExitStack() as stack:
        crowd = Crowd(target, folder, stack)
        readers = await crowd.calls(READERS, Format.PLAIN)
        deaf: list[tuple[Deaf, SipCall, DisturbingSession]] = []
        for how in WAYS:
            for _ in range(TIMES_DEAF):
                [(sip, session, _)] = await crowd.calls(1, Format.JSON, SMALL_SOCKET_BYTES)
                deaf.append((how, sip, session))
        speaking = asyncio.gather(*(speak(session) for _, session, _ in readers))
        for _ in range(TIMES_DEAF):
            # Not even the handshake is answered.
            uri, came = await stack.enter_async_context(mute_server(scheme))
            await crowd.place(uri)
            await came.wait()
        for how, sip, session in deaf:
            await how(sip, session)
        await speaking
        for _, session, rtp in readers:
            assert rtp.wait_for_packets(SPEECH_BYTES // 160, LAST_ACK_S), len(rtp.packets)
            assert session.events[-1].name == "MARK_PLAYED"
        await asyncio.gather(*(sip.hang_up() for sip, _, _ in readers))
    return [
        (one.time_ns, other.time_ns)
        for _, _, rtp in readers
        for one, other in itertools.pairwise(rtp.packets[: SPEECH_BYTES // 160])
        if other.time_ns - one.time_ns > LONGEST_GAP_NS
    ]


def unexplained(gaps: list[tuple[int, int]], stalls: HostStallWatch) -> list[str]:
    """Those that the host's stalls do not make so long."""
    texts = []
    for begin, end in gaps:
        stalled_ns = overlap_ns(stalls.between(begin, end), begin, end)
        if end - begin - stalled_ns > LONGEST_GAP_NS:
            texts.append(f"{(end - begin) / 1e6:.1f} ms, {stalled_ns / 1e6:.1f} of them stalled")
    return texts


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_who_does_not_read_stalls_nobody(build: Build, run_folder: Path, tls: bool) -> None:
    for attempt in range(3):
        folder = run_folder / f"crowd-{'wss' if tls else 'ws'}-{attempt}"
        with (
            HOST.alone(),
            Instance(build, folder, tls=tls) as instance,
            watch_host_stalls(folder, instance.pid) as stalls,
        ):
            gaps = asyncio.run(gaps_of_readers(instance, folder))
            found = unexplained(gaps, stalls)
        if not gaps:
            return
        assert not found, f"{len(found)} gaps in what others say: {found[:5]}"
    skip(f"the host stalled: {len(gaps)} gaps of over {LONGEST_GAP_NS / 1e6:g} ms")
