"""A client that only uses the stock driver's commands is served the same by both drivers.

One session is played against each, and all that Asterisk says is compared byte for byte; so is the
RTP of another one.
"""

from __future__ import annotations

import asyncio
import re

import pytest
from live_calls import JSON, PLAIN, fail, measured, names, place, result, unreliable

from chan_websocket.protocol import Format
from harness.application.client import MediaSession
from harness.application.marks import coded_pieces
from harness.asterisk.configuration import Extension
from harness.bench import Bench, Conditions, LiveCall
from harness.judge.evidence import read_evidence
from harness.judge.verdicts import Bounds
from harness.record.capture_files import load_timeline

BIG = 16_000
"""bytes of a message: 100 frames"""
QUEUE_FRAMES = 1000
UTTERANCES = (1000, 333, 50, 160, 481, 7, 2033)
"""bytes, most of which fill no frame"""
SETUP = 8 * 160
"""bytes; what is said while the call is set up may be heard or not"""
UNBRIDGED_MS = 300
LATE_BRIDGE = Extension("late-bridge", bridge="ari", message_format=Format.JSON)


async def say(session: MediaSession, size: int) -> None:
    for piece in coded_pieces([size], session.sent_bytes):
        await session.send_media(piece)


async def session_of_today(call: LiveCall) -> None:
    """Every command of the stock driver, at moments at which what it answers is determined."""
    session = call.session
    await status(session)
    await buffered_speech(session)
    await session.report_queue_drained()
    await session.wait_event("QUEUE_DRAINED")
    await unknown_commands(session)
    await paused_speech(session)
    await flushed_speech(session)
    await overflow(session)
    await session.hangup()
    await session.wait_closed()


async def status(session: MediaSession) -> None:
    await session.get_status()
    await session.wait_event("STATUS")


async def buffered_speech(session: MediaSession) -> None:
    await session.start_buffering()
    for size in (700, 33, 1600):
        await say(session, size)
        # Behind 700 and 733 bytes it stands inside a frame that is not whole yet.
        await session.mark_media(f"after {size}")
    await session.mark_media()
    await session.stop_buffering("spoken")
    await session.wait_event("MEDIA_BUFFERING_COMPLETED", correlation_id="spoken")


async def unknown_commands(session: MediaSession) -> None:
    for text in ("NO_SUCH_COMMAND", "NO_SUCH_COMMAND id=1", '{"command":"NO_SUCH_COMMAND"}', "{}"):
        await session.send_text(text)
    await status(session)


async def paused_speech(session: MediaSession) -> None:
    await session.pause()
    await say(session, 1600)
    await session.mark_media("paused")
    await status(session)
    await session.continue_()
    await session.wait_event("MEDIA_MARK_PROCESSED", correlation_id="paused")


async def flushed_speech(session: MediaSession) -> None:
    await session.start_buffering()
    await say(session, 1000)
    await session.mark_media("heard")
    await say(session, BIG)
    await session.mark_media("flushed")
    await session.stop_buffering("flushed")
    await session.wait_event("MEDIA_MARK_PROCESSED", correlation_id="heard")
    await session.flush()
    await session.mark_media("empty")
    await session.wait_event("MEDIA_MARK_PROCESSED", correlation_id="empty")
    await status(session)


async def overflow(session: MediaSession) -> None:
    await session.pause()
    for _ in range(QUEUE_FRAMES * 160 // BIG + 1):
        await say(session, BIG)
    await session.wait_event("MEDIA_XOFF")
    await status(session)
    await session.continue_()
    await session.wait_event("MEDIA_XON")
    await session.flush()
    await status(session)


def told(call: LiveCall) -> list[str]:
    """All that Asterisk said, without what names this call and without our field."""
    start = call.session.media_start
    names_of_call = {str(start.fields[name]) for name in ("channel", "channel_id")}
    texts = []
    for event in call.session.events:
        text = event.raw
        for name in sorted(names_of_call, key=len, reverse=True):
            text = text.replace(name, "THIS")
        texts.append(text)
    texts[0] = re.sub(r' playback_marks:2|"playback_marks":2,', "", texts[0])
    # Holds the caller's SIP Call-ID, and the names of channels.
    texts[0] = re.sub(r'"channel_variables":\{[^}]*\}', '"channel_variables":{}', texts[0])
    return texts


@pytest.mark.parametrize("extension", [PLAIN, JSON], ids=lambda one: one.name)
def test_a_session_of_today_is_told_the_same(
    patched: Bench, stock: Bench, extension: Extension
) -> None:
    name = f"today-{extension.name}"
    by_stock = asyncio.run(place(stock, name, session_of_today, extension))
    by_patched = asyncio.run(place(patched, name, session_of_today, extension))
    assert "playback_marks" not in by_stock.session.media_start.fields
    assert "playback_marks" in by_patched.session.media_start.fields
    assert {"MEDIA_MARK_PROCESSED", "MEDIA_XOFF", "MEDIA_XON", "QUEUE_DRAINED", "STATUS"} <= set(
        names(by_stock.session.events)
    )
    assert told(by_patched) == told(by_stock)


async def utterances_of_today(call: LiveCall) -> None:
    """Each begins while the one before is still queued."""
    session = call.session
    for number, size in enumerate((SETUP, *UTTERANCES)):
        await session.start_buffering()
        await say(session, size)
        await session.mark_media()
        await session.stop_buffering(str(number))
        if number in (0, len(UTTERANCES)):
            await session.wait_event("MEDIA_BUFFERING_COMPLETED", correlation_id=str(number))


def packets(call: LiveCall) -> list[bytes]:
    """The packets with the last utterances, but for the one that is spoken first."""
    payloads = [packet.payload for packet in load_timeline(call.folder).rtp]
    first = len(payloads)
    while first and sum(map(len, payloads[first:])) < sum(UTTERANCES):
        first -= 1
    return payloads[first:]


def test_utterances_of_today_are_sent_in_the_same_packets(patched: Bench, stock: Bench) -> None:
    by_stock = asyncio.run(place(stock, "packets-of-today", utterances_of_today, PLAIN))
    by_patched = asyncio.run(place(patched, "packets-of-today", utterances_of_today, PLAIN))
    assert [len(payload) for payload in packets(by_stock)][:7] == [160] * 6 + [40]
    assert packets(by_patched) == packets(by_stock)


async def before_its_bridge(bench: Bench, name: str) -> tuple[LiveCall, int]:
    """A call whose application speaks, by today's commands, before anybody can hear it; how many
    bytes were lost."""
    conditions = Conditions(bridge_after_ms=UNBRIDGED_MS)
    async with bench.call(name, LATE_BRIDGE, conditions=conditions) as call:
        await say(call.session, BIG // 2)
        await call.session.mark_media("m")
        await call.session.wait_event("MEDIA_MARK_PROCESSED", correlation_id="m")
    evidence = read_evidence(load_timeline(call.folder), Bounds())
    return call, evidence.wire.missing(0, BIG // 2)


def test_media_of_today_does_not_wait_for_its_bridge(patched: Bench, stock: Bench) -> None:
    """Of speech in real time all that comes later would be late by that for good."""
    for bench in (stock, patched):
        _, lost = asyncio.run(before_its_bridge(bench, "no-wait"))
        assert lost > UNBRIDGED_MS * 8 / 2


def test_who_opts_in_later_is_told_what_nobody_has_heard(patched: Bench) -> None:
    async def place_call(name: str) -> LiveCall:
        conditions = Conditions(bridge_after_ms=UNBRIDGED_MS)
        async with patched.call(name, LATE_BRIDGE, conditions=conditions) as call:
            session = call.session
            await say(session, 5 * 160)
            await session.report_queue_drained()
            await session.wait_event("QUEUE_DRAINED")
            await say(session, 10 * 160)
            await session.mark("told")
            told = await session.wait_event("MARK_PLAYED", id="told")
            # All of it, unless the host was so busy that the bridge was there first.
            assert 0 < told.number("dropped") <= 5 * 160
        return call

    call = measured("opts-in-later", place_call, unreliable)
    if result(call) != "PASS":
        fail(call)
