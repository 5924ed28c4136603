"""The stock driver's events: each comes that stock sends, and none later than its audio.

With the patch MEDIA_MARK_PROCESSED and MEDIA_BUFFERING_COMPLETED wait until what is before them has
been played. Where a mixer takes 40 or 80 ms at once, that must not be for ever: an utterance need
not end with such an interval. The sessions here use the stock driver's commands only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from live_calls import fail, names, of, passing_call, place, result, skip
from test_bridges import STASIS, application

from chan_websocket.protocol import Format, command_set_direction
from harness.application.client import MediaSession
from harness.application.marks import coded_pieces, random_sizes
from harness.asterisk.configuration import MIXING_INTERVALS_MS, Extension
from harness.bench import Bench, LiveCall
from harness.judge.evidence import read_evidence
from harness.judge.verdicts import Bounds
from harness.record.capture_files import load_timeline
from harness.retry import until_reliable

MS = 1_000_000
LATE = Bounds(late_ns=25 * MS)
FRAME = 160
ODD = 5 * FRAME
"""bytes; 100 ms, which no mixing interval above 20 ms divides"""
FIRST = f"by-{ODD}"
"""what the first utterance ends with"""
Script = Callable[[MediaSession], Awaitable[None]]
STALLED = "the host stalled"
SHORT_STALL_NS = 5 * MS
STALLED_AROUND_NS = 100 * MS
"""what a stall may have delayed from its end on"""
PLACES = {
    **{
        f"conference-{interval}": Extension(
            f"conference-{interval}", bridge="conference", mixing_interval_ms=interval
        )
        for interval in MIXING_INTERVALS_MS
    },
    # The last one: an application that speaks at once is not heard in a conference.
    "dial": Extension("dial"),
}


async def say(session: MediaSession, size: int) -> None:
    for piece in coded_pieces([size], session.sent_bytes):
        await session.send_media(piece)


async def utterance(session: MediaSession, *sizes: int) -> None:
    """Each part ends with a mark, the last one with the end of the utterance."""
    await session.start_buffering()
    for size in sizes:
        await say(session, size)
        await session.mark_media(f"at-{session.sent_bytes}")
    await session.stop_buffering(f"by-{session.sent_bytes}")
    await finished(session)


async def finished(session: MediaSession) -> None:
    await session.wait_event("MEDIA_BUFFERING_COMPLETED", correlation_id=f"by-{session.sent_bytes}")


async def session_of_today(session: MediaSession) -> None:
    await session.report_queue_drained()
    await session.start_buffering()
    await say(session, ODD)
    await session.stop_buffering(f"by-{session.sent_bytes}")
    await finished(session)
    await session.wait_event("QUEUE_DRAINED")
    # A tail shorter than a frame, and one shorter than a mixing interval.
    await utterance(session, 3 * FRAME + 33)
    await utterance(session, FRAME)
    await utterance(session, 33, FRAME, ODD, 7, 2 * FRAME)
    await paused(session)
    await flushed(session)
    await utterance(session, ODD)


async def paused(session: MediaSession) -> None:
    """Wherever a pause falls, all before it is told of, and the rest after it.

    That needs no end of the pause where the queue is empty.
    """
    await say(session, ODD)
    await session.mark_media(f"at-{session.sent_bytes}")
    # Behind what is to be played: else it may be drained before that comes.
    await session.report_queue_drained()
    await session.wait_event("QUEUE_DRAINED")
    await session.pause()
    await session.wait_event("MEDIA_MARK_PROCESSED", correlation_id=f"at-{session.sent_bytes}")
    await session.continue_()
    await session.start_buffering()
    for _ in range(6):
        await say(session, FRAME)
        await session.mark_media(f"at-{session.sent_bytes}")
    first = session.sent_bytes - 5 * FRAME
    await session.wait_event("MEDIA_MARK_PROCESSED", correlation_id=f"at-{first}")
    await session.pause()
    await session.get_status()
    await session.wait_event("STATUS")
    await session.continue_()
    await session.stop_buffering(f"by-{session.sent_bytes}")
    await finished(session)


async def flushed(session: MediaSession) -> None:
    """What was flushed is not told of; what was heard of it holds up nothing."""
    await session.start_buffering()
    await say(session, FRAME)
    heard = f"at-{session.sent_bytes}"
    await session.mark_media(heard)
    await say(session, 100 * FRAME)
    await session.mark_media("flushed")
    await session.stop_buffering("flushed")
    await session.wait_event("MEDIA_MARK_PROCESSED", correlation_id=heard)
    await session.flush()


def told(call: LiveCall) -> list[str]:
    """What stock says of media, sorted: QUEUE_DRAINED has its own time, by the queue alone."""
    return sorted(
        event.raw for event in call.session.events if event.name not in ("MEDIA_START", "STATUS")
    )


async def calls_everywhere(bench: Bench, name: str, script: Script) -> dict[str, LiveCall]:
    """A session in each of `PLACES`, all at the same time; judged when all are over."""

    async with AsyncExitStack() as stack:
        calls = {
            where: await stack.enter_async_context(
                bench.call(f"{name}-{where}", extension, LATE, judged_later=True)
            )
            for where, extension in PLACES.items()
        }
        await asyncio.gather(*(script(call.session) for call in calls.values()))
        for call in calls.values():
            await call.session.hangup()
            await call.session.wait_closed()
    for call in calls.values():
        call.judge()
    return calls


def not_in_time(calls: dict[str, LiveCall]) -> str:
    """An event that came before the end of its audio, or more than 25 ms behind it; if any did.

    Behind is by the packet that the audio ends in. The judge's clock does not do for that: a
    conference's first packets come at once, so that with 10 ms all the others count as late; and
    with 80 ms each comes 3.3 ms later than the one before.
    """
    for where, call in calls.items():
        evidence = read_evidence(load_timeline(call.folder), LATE)
        error_ns = evidence.uncertainty.measurement.uncertainty_ns
        for sent in evidence.conversation.events:
            fields = sent.event.fields
            _, _, offset = str(fields.get("correlation_id") or fields.get("id", "")).partition("-")
            if not offset:
                continue
            text = f"{where}: {sent.event.raw} ({call.folder})"
            end = evidence.wire.audio_end(int(offset))
            if end is None or end.last != int(offset):
                return f"not heard: {text}"
            begin_ns = min(sent.time_ns, end.raw_ns) - STALLED_AROUND_NS
            for stalled_ns, on_ns in evidence.timeline.measurement.host_stalls:
                stalled = on_ns > begin_ns and stalled_ns < max(sent.time_ns, end.raw_ns)
                if stalled and on_ns - stalled_ns > SHORT_STALL_NS:
                    text = f"{STALLED}: {where}: {sent.event.raw} ({call.folder})"
            if sent.time_ns + error_ns < end.end_ns:
                return f"{(end.end_ns - sent.time_ns) / MS:.3f} ms early: {text}"
            if sent.time_ns - error_ns > end.raw_ns + LATE.late_ns:
                return f"{(sent.time_ns - end.raw_ns) / MS:.3f} ms late: {text}"
    return ""


def in_time(bench: Bench, name: str, script: Script) -> dict[str, LiveCall]:
    """`calls_everywhere`, up to three times: the host may be too busy for it."""
    calls = until_reliable(
        name, lambda name: asyncio.run(calls_everywhere(bench, name, script)), not_in_time
    )
    if STALLED in (text := not_in_time(calls)):
        skip(text)
    assert not text
    for where in ("dial", "conference-20", "conference-40"):
        if result(calls[where]) == "FAIL":
            fail(calls[where])
    return calls


def test_every_event_of_stock_comes_and_in_time(patched: Bench, stock: Bench) -> None:
    by_stock = asyncio.run(calls_everywhere(stock, "stock-events", session_of_today))
    by_patched = in_time(patched, "stock-events", session_of_today)
    for where, call in by_patched.items():
        assert told(call) == told(by_stock[where]), where


async def speak_with_marks(session: MediaSession) -> None:
    """Utterances of any length, each played to its end before the next one comes."""
    await session.start_buffering()
    for seed in range(6):
        for size in random_sizes(seed, 3, 1, 500):
            await say(session, size)
            await session.mark(f"at-{session.sent_bytes}")
        await session.wait_event("MARK_PLAYED", id=f"at-{session.sent_bytes}")


def test_marks_wherever_an_utterance_ends(patched: Bench) -> None:
    for call in in_time(patched, "odd-utterances", speak_with_marks).values():
        assert names(call.session.events) == ["MARK_PLAYED"] * 18


def test_reports_where_an_interval_has_several_frames(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        await call.session.report_playback(50)
        await speak_with_marks(call.session)

    passing_call(patched, "odd-reports", script, PLACES["conference-40"], LATE)


@pytest.mark.usefixtures("media_direction")
def test_the_direction_becomes_in_behind_an_utterance(patched: Bench) -> None:
    """The media timer ends with it, and with that the ticks at which silence is given."""

    async def script(call: LiveCall) -> None:
        session = call.session
        for _ in range(3):
            await session.start_buffering()
            await say(session, ODD)
            await session.stop_buffering(f"by-{session.sent_bytes}")
            await session.report_queue_drained()
            await session.wait_event("QUEUE_DRAINED")
            await session.send_text(command_set_direction("in"))
            await finished(session)
            await session.send_text(command_set_direction("both"))

    extension = replace(PLACES["conference-80"], name="turns", message_format=Format.JSON)
    call = asyncio.run(place(patched, "turns", script, extension))
    assert len(of(call, "MEDIA_BUFFERING_COMPLETED")) == 3


def test_a_holding_bridge(patched: Bench, stock: Bench) -> None:
    """Where nobody hears what is said: each event when its audio would have ended."""

    async def held_call(bench: Bench, name: str) -> LiveCall:
        ari = bench.target.ari
        assert ari is not None
        async with (
            application(ari, Extension("agent").dial_string, "holding") as mover,
            bench.call(name, STASIS) as call,
        ):
            while not (await mover.joined.get()).startswith("WebSocket/"):
                pass
            await session_of_today(call.session)
            await ari.request("DELETE", "channels/agent")
        return call

    def late(call: LiveCall) -> str:
        """What began with a tick, at most 20 ms after it was sent, and has no end on the wire."""
        conversation = read_evidence(load_timeline(call.folder), LATE).conversation
        [sent] = [
            one for one in conversation.events if one.event.fields.get("correlation_id") == FIRST
        ]
        began_ns = conversation.sent_ns(ODD)
        assert began_ns is not None
        late_ns = sent.time_ns - began_ns - (ODD // 8 + 20) * MS
        return f"{late_ns / MS:.3f} ms late" if late_ns > LATE.late_ns else ""

    by_stock = asyncio.run(held_call(stock, "holding"))
    by_patched = until_reliable("holding", lambda name: asyncio.run(held_call(patched, name)), late)
    assert told(by_patched) == told(by_stock)
    assert not late(by_patched)
