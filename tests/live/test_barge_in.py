"""Barge-in: the caller interrupts the agent, and the agent knows where it was cut off."""

from __future__ import annotations

import asyncio

import pytest
from live_calls import ids, of, passing_call
from test_marks import BYTES_PER_MS, STRETCH, played, send

from chan_websocket.protocol import Format
from harness.asterisk.configuration import Extension
from harness.bench import Bench, LiveCall
from harness.media.speech import interruption, silent_payload

SENTENCES = 5
SENTENCE = 5 * STRETCH
SPEECH_TIMEOUT_S = 5.0


@pytest.mark.parametrize("message_format", list(Format), ids=lambda one: one.name.lower())
def test_the_position_of_an_interruption_is_that_of_the_wire(
    patched: Bench, message_format: Format
) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        for number in range(SENTENCES):
            await send(session, SENTENCE)
            await session.mark(f"s{number}")
        await played(session, "s0")
        voice = call.rtp.talk(call.sip.media)
        voice.speak(interruption(1000))
        await session.wait_heard()
        await session.flush("barge-in")
        await session.wait_event("MEDIA_FLUSHED", id="barge-in")
        # The next answer, as a live agent gives one: its offsets go on.
        await send(session, STRETCH)
        await session.mark("answer")
        await played(session, "answer")
        await asyncio.to_thread(voice.wait_spoken, SPEECH_TIMEOUT_S)

    extension = Extension(f"barge-in-{message_format.name.lower()}", message_format=message_format)
    call = passing_call(patched, extension.name, script, extension)
    (flushed,) = of(call, "MEDIA_FLUSHED")
    # The judge has compared all of it with the wire; here in the agent's own terms.
    played_ms = flushed.number("played_ms")
    last_mark = str(flushed.fields["last_mark"])
    sentence_ms = SENTENCE / BYTES_PER_MS
    assert played_ms == flushed.number("played") / BYTES_PER_MS
    assert last_mark == f"s{int(played_ms // sentence_ms) - 1}"
    assert flushed.number("since_mark_ms") == pytest.approx(played_ms % sentence_ms, abs=0.001)
    assert flushed.number("played") + flushed.number("flushed") == SENTENCES * SENTENCE
    # The caller began when the first sentence was over, and spoke a fifth of a second at least
    # before it was heard: no cut can be earlier.
    assert sentence_ms < played_ms < (SENTENCES - 1) * sentence_ms
    discarded = SENTENCES - 1 - int(last_mark[1:])
    assert ids(of(call, "MARK_DISCARDED")) == [
        f"s{number}" for number in range(SENTENCES - discarded, SENTENCES)
    ]
    on_the_wire = sum(
        piece.end - piece.offset
        for place in call.judged.located
        for piece in place.location.pieces
        if piece.offset < SENTENCES * SENTENCE
    )
    assert flushed.number("played") == on_the_wire


def test_the_agent_hears_what_the_caller_says_byte_by_byte(patched: Bench) -> None:
    words = interruption(600)

    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        await send(session, 10 * STRETCH)
        await session.mark("m")
        voice = call.rtp.talk(call.sip.media)
        voice.speak(words)
        await asyncio.to_thread(voice.wait_spoken, SPEECH_TIMEOUT_S)
        await played(session, "m")

    call = passing_call(patched, "heard", script)
    heard = call.session.received_media
    assert b"".join(words) in heard
    silence = silent_payload("ulaw")
    assert heard.replace(b"".join(words), b"").replace(silence, b"") == b""
