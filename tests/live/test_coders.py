"""Coders whose frames are not as long as a tick, and RTP whose packets nobody counts.

LPC10 makes a packet of each 22.5 ms: a mark must wait for the packet that its last byte is in, and
the end of an utterance that fills none is pushed out with silence. What is heard cannot be told
from such packets, so they are counted here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

import pytest
from live_calls import JSON, measured

from harness.application.client import MediaSession, serve
from harness.application.marks import random_sizes
from harness.asterisk.configuration import CONTEXT
from harness.bench import Bench
from harness.caller.rtp_socket import RtpSocket
from harness.caller.sipp import CallRequest, place_call
from harness.capture.timeline import RtpPacket

BYTE_NS = 125_000
PACKET_NS = 22_500_000
FRAME = 160
SILENCE = b"\xff"
PIECES = random_sizes(11, 30, 50, 900)
END = 3 * FRAME
"""bytes of an utterance that ends with a part of a packet"""
LATE_NS = 25_000_000
"""a packet and some more: one is delayed by up to a tick, as its audio comes in ticks"""
STALL_NS = 8_000_000
"""so much later a packet may leave by chance, and by as much more as the host stood still; one that
was not waited for leaves a tick later"""
SOCKET_NS = 1_000_000
"""between a packet's time stamp and when this process reads an event"""


class Lpc10Request(CallRequest):
    """A caller who knows LPC10 only; whole calls in it cannot be judged."""

    @property
    def keywords(self) -> dict[str, str]:
        return {**super().keywords, "payload_type": "7", "rtpmap": "LPC/8000"}


@dataclass
class Played:
    """A mark's acknowledgement."""

    time_ns: int
    stage: str


@dataclass
class Talk:
    """What an application said, and what became of it."""

    acks: dict[str, Played] = field(default_factory=dict)
    packets: Sequence[RtpPacket] = ()
    """of the first utterance"""
    later: int = 0
    """packets of the second"""
    lost: int = 0
    """of these, bytes that were told to be dropped"""
    stalled_ns: int = 0
    """how long the host stood still at once meanwhile, at the most"""


@asynccontextmanager
async def call_up(
    bench: Bench, folder: Path, counted: bool
) -> AsyncIterator[tuple[MediaSession, RtpSocket]]:
    """A call to a caller with LPC10: of chan_pjsip, or of chan_rtp, which has no RTCP."""
    target = bench.target
    assert target.ari is not None
    async with AsyncExitStack() as stack:
        rtp = stack.enter_context(RtpSocket(target.rtp_address))
        server = await stack.enter_async_context(serve(target.listener.host))
        number = target.prepare(JSON, server.uri)
        if counted:
            request = Lpc10Request(number, rtp.address, rtp.port)
            sip = await stack.enter_async_context(place_call(target.sip, request, folder))
            await sip.answered()
        else:
            endpoint = f"UnicastRTP/{rtp.address}:{rtp.port}/c(lpc10)"
            await target.ari.originate_into_dialplan(endpoint, CONTEXT, number, "lpc10")
        session = await server.accept()
        yield session, rtp
        await session.hangup()
        await session.wait_closed()


async def talk(bench: Bench, folder: Path, counted: bool) -> Talk:
    """Two utterances, with a mark behind each piece of the first and one behind the second."""
    folder.mkdir(parents=True)
    said = Talk()
    begin_ns = time.time_ns()

    async def listen(session: MediaSession) -> None:
        async for event in session.iterate_events():
            if event.name == "MARK_PLAYED":
                said.acks[str(event.fields["id"])] = Played(
                    time.time_ns(), str(event.fields["stage"])
                )
            elif event.name == "MEDIA_DROPPED":
                said.lost += int(event.number("bytes"))

    async with call_up(bench, folder, counted) as (session, rtp):
        listening = asyncio.create_task(listen(session))
        await session.start_buffering()
        for number, size in enumerate(PIECES):
            await session.send_media(SILENCE * size)
            await session.mark(f"m{number}")
        await session.wait_event("MARK_PLAYED", id=f"m{len(PIECES) - 1}")
        said.packets = rtp.packets
        await session.send_media(SILENCE * END)
        await session.mark("end")
        await session.wait_event("MARK_PLAYED", id="end")
        said.later = len(rtp.packets) - len(said.packets)
    await listening
    stalls = bench.host_stalls.between(begin_ns, time.time_ns())
    said.stalled_ns = max((end - begin for begin, end in stalls), default=0)
    return said


def wrong(said: Talk) -> str:
    """What was acknowledged before its packet had been sent, or never left; if anything was."""
    start_ns = min(one.time_ns - n * PACKET_NS for n, one in enumerate(said.packets))
    for number, offset in enumerate(accumulate(PIECES)):
        ack_ns = said.acks[f"m{number}"].time_ns
        count = -(-offset * BYTE_NS // PACKET_NS)
        if count > len(said.packets):
            return f"m{number} needs {count} packets, {len(said.packets)} were sent"
        sent_ns, end_ns = said.packets[count - 1].time_ns, start_ns + offset * BYTE_NS
        early_ns = max(sent_ns, end_ns) - ack_ns
        if early_ns > 0:
            return f"m{number} is {early_ns / 1e6:.3f} ms early"
    if said.later * PACKET_NS < END * BYTE_NS:
        return f"of the second utterance {said.later} packets were sent"
    return ""


def left_behind_ns(said: Talk, number: int) -> int:
    """How long behind the acknowledgement a mark's packet left because the host kept its thread
    waiting, which the stage `delivered` does not see; 0 if it did not, or for longer than that."""
    ack = said.acks[f"m{number}"]
    count = -(-sum(PIECES[: number + 1]) * BYTE_NS // PACKET_NS)
    if ack.stage != "delivered" or count > len(said.packets):
        return 0
    behind_ns = said.packets[count - 1].time_ns - ack.time_ns
    return behind_ns if 0 < behind_ns < STALL_NS + said.stalled_ns else 0


def unreliable(said: Talk) -> str:
    """What was acknowledged long after its audio had ended, or shortly before a packet left that
    the host had kept waiting; if anything was."""
    start_ns = min(one.time_ns - n * PACKET_NS for n, one in enumerate(said.packets))
    for number, offset in enumerate(accumulate(PIECES)):
        if (behind_ns := left_behind_ns(said, number)) > 0:
            return f"m{number}'s packet left {behind_ns / 1e6:.3f} ms after its acknowledgement"
        late_ns = said.acks[f"m{number}"].time_ns - start_ns - offset * BYTE_NS
        if late_ns > LATE_NS + SOCKET_NS:
            return f"m{number} is {late_ns / 1e6:.3f} ms late"
    return ""


@pytest.mark.parametrize("counted", [True, False], ids=["pjsip", "without-rtcp"])
def test_a_coder_with_frames_of_22_ms(patched: Bench, counted: bool) -> None:
    name = "lpc10" if counted else "lpc10-without-rtcp"
    said = measured(
        name, lambda attempt: talk(patched, patched.folder / attempt, counted), unreliable
    )
    assert not wrong(said)
    assert {one.stage for one in said.acks.values()} == {"sent" if counted else "delivered"}
    assert not said.lost
