"""A client that only uses the stock driver's commands is told the same by both drivers.

One session is played against each, and all that Asterisk says is compared byte for byte.
"""

from __future__ import annotations

import asyncio
import re

import pytest
from live_calls import JSON, PLAIN, names, place

from harness.application.client import MediaSession
from harness.application.marks import coded_pieces
from harness.asterisk.configuration import Extension
from harness.bench import Bench, LiveCall

BIG = 16_000
"""bytes of a message: 100 frames"""
QUEUE_FRAMES = 1000


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
