"""What an ill-behaved application, a bad network and a busy host do to the patched driver."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from callerless import channels, nothing_left
from live_calls import PLAIN, fail, measured, passing_call, result, unreliable
from test_deaf import mute_server
from test_marks import STRETCH, played, send

from harness.application.disturb import DisturbingSession, connect, serve
from harness.application.marks import coded_pieces, play_with_marks, random_sizes
from harness.asterisk.configuration import Connection, Extension
from harness.asterisk.console import hang_up_caller
from harness.asterisk.instance import Instance
from harness.bench import Bench, Conditions, LiveCall
from harness.install.build import Build
from harness.judge.call import JudgedCall, judge_call
from harness.judge.uncertainty import overlap_ns
from harness.judge.verdicts import FAILURES, Verdict
from harness.media.speech import interruption
from harness.network_impairment import BadNetwork
from harness.record.capture_files import load_timeline
from harness.scenarios.cpu_load import cpu_load
from harness.targets.target import OwnTarget

TIMEOUT_S = 10.0
MARKS = 20
DELAY_MS = 40.0
LAST_MARKS = 60
"""whose answers a small socket does not hold"""
ABNORMAL = 1006
LOSSES = BadNetwork(loss=0.3, seed=1)


def media(session: DisturbingSession, size: int) -> bytes:
    """The next ``size`` bytes of the position-coded stream, not sent yet."""
    [piece] = coded_pieces([size], session.sent_bytes)
    return piece


def conclusive(place: Callable[[str], Coroutine[Any, Any, LiveCall]], name: str) -> LiveCall:
    """A call in which every mark passes, placed again as `passing_call` does."""
    call = measured(name, place, unreliable)
    if result(call) != "PASS":
        fail(call)
    return call


def longest_gap_ns(call: LiveCall, stalls: Sequence[tuple[int, int]] = ()) -> int:
    """Between two packets to the caller, as its own socket saw them, without the host's stalls."""
    times = [packet.time_ns for packet in call.rtp.packets]
    return max(
        later - earlier - overlap_ns(stalls, earlier, later)
        for earlier, later in itertools.pairwise(times)
    )


# ---- the application -----------------------------------------------------------------------------


def test_a_connection_that_breaks_off_ends_the_call(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        await send(session, STRETCH)
        await session.mark("m")
        await played(session, "m")
        await send(session, 10 * STRETCH)
        await session.abort()
        assert await call.sip.ended() == "asterisk"

    async def place() -> LiveCall:
        async with patched.call("abort", PLAIN) as call:
            await script(call)
        return call

    call = asyncio.run(place())
    assert call.session.close_code == 1006
    assert [mark.outcome for mark in call.judged.marks] == ["played"]


# ---- the caller ----------------------------------------------------------------------------------


def test_asterisk_kills_the_callers_channel(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        await send(session, STRETCH + 80)
        await session.mark("heard")
        await send(session, 10 * STRETCH)
        await session.mark("pending")
        await played(session, "heard")
        console = patched.instance.console
        name = await asyncio.to_thread(hang_up_caller, console, call.sip.call_id)
        assert name.startswith("PJSIP/")
        await session.wait_event("MARK_DISCARDED", id="pending", reason="hangup")
        assert await call.sip.ended() == "asterisk"
        await session.wait_closed()

    passing_call(patched, "killed", script, Extension("killed"))


# ---- the network and the host --------------------------------------------------------------------


def test_what_the_network_loses_is_not_held_against_asterisk(patched: Bench) -> None:
    """Before the loss all pass. What is measured behind it makes nothing a failure, either."""

    async def place(name: str) -> LiveCall:
        async with patched.call(
            name, Extension("lossy"), conditions=Conditions(network=LOSSES)
        ) as call:
            await call.session.start_buffering()
            await play_with_marks(call.session, coded_pieces(random_sizes(1, MARKS, 200, 1200)))
        return call

    call = conclusive(place, "lossy")
    assert call.judged.missing_packets == 0
    arrived = {packet.sequence for packet in call.rtp.packets}
    timeline = load_timeline(call.folder)
    # With the times of before: the relay measures nothing of them.
    seen = tuple(packet for packet in timeline.rtp if packet.sequence in arrived)
    behind: JudgedCall = judge_call(replace(timeline, rtp=seen))
    assert behind.missing_packets > 0.1 * call.judged.packets
    assert {mark.verdict for mark in behind.marks} <= {Verdict.PASS, Verdict.INCONCLUSIVE}
    assert Verdict.INCONCLUSIVE in {mark.verdict for mark in behind.marks}


def test_the_caller_is_heard_through_a_bad_network(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        await send(session, 20 * STRETCH)
        await session.mark("m")
        assert await asyncio.to_thread(call.rtp.wait_for_packets, 10, 5.0)
        call.rtp.talk(call.sip.media).speak(interruption(2000))
        await session.wait_heard()
        await session.flush("f")
        await session.wait_event("MEDIA_FLUSHED", id="f")

    async def place() -> LiveCall:
        bad = BadNetwork(loss=0.05, delay_ms=30, jitter_ms=40, seed=2)
        async with patched.call(
            "bad-network", Extension("bad-network"), conditions=Conditions(network=bad)
        ) as call:
            await script(call)
        return call

    call = asyncio.run(place())
    # The relay's delay is behind what is measured: it makes nothing early or late.
    assert not FAILURES & {mark.verdict for mark in call.judged.marks}
    assert call.judged.counters_result != "FAIL"


def test_a_slow_way_to_the_application_delays_no_mark(patched: Bench) -> None:
    """Each answer leaves Asterisk in time, and comes to the application later."""
    slow = Extension("slow")

    async def place(name: str) -> LiveCall:
        async with patched.call(
            name, slow, conditions=Conditions(websocket_delay_ms=DELAY_MS)
        ) as call:
            await call.session.start_buffering()
            await play_with_marks(call.session, coded_pieces(random_sizes(3, MARKS, 200, 1200)))
        return call

    call = conclusive(place, "slow")
    received = {
        message.data: message.time_ns
        for message in call.session.messages
        if message.data.startswith(b"MARK_PLAYED")
    }
    for mark in call.judged.marks:
        assert mark.acked_ns is not None
        late_ns = received[f"MARK_PLAYED id={mark.id}".encode()] - mark.acked_ns
        assert late_ns >= DELAY_MS * 1e6


def test_a_busy_processor_gives_no_wrong_verdict(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        await call.session.start_buffering()
        await play_with_marks(call.session, coded_pieces(random_sizes(2, MARKS, 200, 1200)))

    with cpu_load(1):
        passing_call(patched, "load", script, alone=True)


# Speaks to the application for ever, with a digit every half a second.
TALKS = """
[talks]
exten = s,1,Answer(,i)
 same = n(again),Playtones(440)
 same = n,Wait(0.4)
 same = n,SendDTMF(5,,80)
 same = n,Goto(again)
"""


async def until(done: Callable[[], bool]) -> None:
    async def wait() -> None:
        while not done():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(wait(), TIMEOUT_S)


async def listener_that_stops_reading(instance: Instance) -> tuple[int, int]:
    """The digits an application has heard that only listens: when its socket was full for a while,
    and some time after it has gone on reading."""
    conf = instance.directories.configuration / "extensions.conf"
    conf.write_text(conf.read_text() + TALKS)
    originate = "channel originate WebSocket/harness/c(slin192)d(in) extension s@talks"

    debug = instance.log.with_name("debug.log")

    def digits() -> int:
        return sum(event.name == "DTMF_END" for event in session.events)

    async with serve("127.0.0.1", receive_buffer_bytes=4096) as server:
        await asyncio.to_thread(instance.use_application, server.uri)
        for command in (
            "dialplan reload",
            "logger add channel debug.log debug",
            "core set debug 1 chan_websocket",
            originate,
        ):
            await asyncio.to_thread(instance.console.run, command)
        session = await server.accept()
        await session.wait_event("DTMF_END")
        session.stop_reading()
        await until(lambda: "The application does not read" in debug.read_text())
        await asyncio.sleep(1.5)  # for three digits to be kept
        before = digits()
        session.go_on_reading()
        await until(lambda: digits() >= before + 4)
        await session.close()
    return before, digits()


def test_what_a_full_socket_held_back_comes_when_it_is_read_again(
    build: Build, tmp_path: Path
) -> None:
    """Also where the application only listens, so that no tick of its media sends it."""
    with Instance(build, tmp_path) as instance:
        before, after = asyncio.run(listener_that_stops_reading(instance))
    assert after >= before + 4


async def looked_at_while_connecting(instance: Instance, tls: bool) -> str:
    """What AMI is told of a channel whose application does not answer the handshake."""
    async with channels(instance) as made, mute_server("wss" if tls else "ws") as (uri, came):
        await asyncio.to_thread(instance.use_application, uri)
        await made.originate_websocket("connects")
        await asyncio.wait_for(came.wait(), TIMEOUT_S)
        return await asyncio.wait_for(made.variable("connects", "CHANNEL(state)"), TIMEOUT_S)


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_nobody_waits_with_a_call_that_connects(build: Build, tmp_path: Path, tls: bool) -> None:
    with Instance(build, tmp_path, tls=tls) as instance, nothing_left(instance):
        assert asyncio.run(looked_at_while_connecting(instance, tls)) == "Down"


# ---- the end of a connection ---------------------------------------------------------------------


async def hung_up_in_speech(
    instance: Instance, tls: bool, connection: Connection
) -> DisturbingSession:
    """The session of an application that is hung up on, goes on speaking, and reads only then.

    Its socket takes less than what Asterisk has to say.
    """
    target = OwnTarget(instance)
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(channels(instance))
        if connection == "outgoing":
            server = await stack.enter_async_context(
                serve(receive_buffer_bytes=4096, tls=target.listener.tls)
            )
            await asyncio.to_thread(instance.use_application, server.uri)
            await made.originate_websocket("ends")
            session = await server.accept()
        else:
            uri = await made.waiting("ends")
            session = await stack.enter_async_context(connect(uri, target.media_tls))
        marks = [session.mark_text(f"m{number}") for number in range(LAST_MARKS)]
        await session.send_in_one_write([media(session, 8000), *marks])
        # All has been read when what comes behind it is answered.
        await session.report_playback()
        await session.wait_event("PLAYBACK")
        session.stop_reading()
        await made.hang_up("ends")
        await session.send_media(media(session, 160))
        session.go_on_reading()
        await session.wait_closed(TIMEOUT_S)
    return session


@pytest.mark.parametrize("connection", ["outgoing", "incoming"])
@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_who_goes_on_speaking_is_told_all_at_the_end(
    build: Build, tmp_path: Path, tls: bool, connection: Connection
) -> None:
    with Instance(build, tmp_path, tls=tls) as instance, nothing_left(instance):
        session = asyncio.run(hung_up_in_speech(instance, tls, connection))
    discarded = [event.id for event in session.events if event.name == "MARK_DISCARDED"]
    assert discarded == [f"m{number}" for number in range(LAST_MARKS)]
    assert session.close_code not in (None, ABNORMAL)
